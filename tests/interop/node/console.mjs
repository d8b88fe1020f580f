// An operator's day in the console: the first sign-in by the printed link, a client, an invite with which a node enrols that
// serves and is called, a rotation, a consent whose end that node hears of, and all of it in the audit trail; somebody who
// only looks; text that would like to run; and the page on which the API is tried.
//
// Fails on any complaint of the browser, on a serious fault that axe finds, on a view that is wider than its window.
// Pictures of every view, in three widths and two themes, go into the folder SHOTS if it is given. Runs after pages.mjs,
// which shows the page of the link that is used up here.

import { execFileSync, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { authorize, launch, listen, openPage, person } from './browser.mjs';
import { assert, operator, start, step } from './steps.mjs';

const { nodeUrl, clientId } = start();
const { ISSUER, FIRST_LINK, MCP_NODE, SHOTS } = process.env;
// How long a state is waited for on a machine that is busy.
const PATIENCE = 60_000;
const somebody = person();
const boss = { username: 'boss', password: 'a longer pass phrase than most' };
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const HOSTILE = '<img src=x onerror="globalThis.ran=1">\'"><script>globalThis.ran=1</script>';
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const SIZES = [['desk', 1280], ['tablet', 800], ['phone', 390]];

if (SHOTS) mkdirSync(SHOTS, { recursive: true });
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-GB' });
await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(ISSUER).origin });
const page = await openPage(context, new URL(ISSUER).origin);
page.on('dialog', (dialog) => {
  page.complaints.push(`a dialogue of the browser: ${dialog.message()}`);
  return dialog.dismiss();
});
const devtools = await context.newCDPSession(page);
await devtools.send('WebAuthn.enable');
await devtools.send('WebAuthn.addVirtualAuthenticator', {
  options: {
    protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
    isUserVerified: true, automaticPresenceSimulation: true,
  },
});

await step('the first administrator: the printed link, and a password alone is not enough', async () => {
  await page.goto(FIRST_LINK);
  await page.fill('#display_name', 'Béa Boss');
  await page.fill('#username', boss.username);
  await page.fill('#password', boss.password);
  await page.fill('#password_again', boss.password);
  await page.click('form[action$="/login/link"] button');
  await page.goto(`${ISSUER}/console`);
  await heading('Console');
  await look('welcome');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await signIn('[role=alert]');
  await page.getByRole('alert').getByText('passkey').waitFor();
  await look('refused');
  await page.getByRole('link', { name: 'Open your account' }).click();
  await signIn('#passkey_name');
  await page.fill('#passkey_name', 'Laptop');
  await page.locator('#passkeys').getByRole('button').last().click();
  await page.locator('#passkeys').getByRole('heading', { name: 'Laptop' }).waitFor();
});

await step('a passkey enters, and nobody is asked for consent', async () => {
  await enter('Sign in');
  assert.ok(!page.url().includes('code='), page.url());
  assert.equal(await page.locator('#person strong').innerText(), 'Béa Boss');
  const { local, session } = await page.evaluate(() => ({ local: localStorage.length, session: Object.values(sessionStorage).join() }));
  assert.equal(local, 0);
  assert.ok(!/eyJ|ehr_/.test(session), 'a token is in the storage of the tab');
});

let made;
await step('a client, by the wizard, and its first token', async () => {
  await go('clients', 'Clients');
  await page.getByRole('link', { name: 'New client' }).click();
  await heading('New client');
  await page.getByLabel('Name', { exact: true }).fill('Night shift');
  await look('clients-new');
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByRole('heading', { name: 'What it may' }).waitFor();
  await page.getByLabel('mcp:read', { exact: true }).check();
  await page.getByLabel('mcp:call', { exact: true }).check();
  await look('clients-new-rights');
  await page.getByRole('button', { name: 'Make the client' }).click();
  await page.getByRole('heading', { name: 'How it is used' }).waitFor();
  const [id, secret] = await page.locator('.once .value').allInnerTexts();
  assert.match(secret, /^ehs_/);
  made = { id, secret };
  await page.getByRole('button', { name: 'Copy the secret' }).click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);
  await page.getByRole('tab', { name: 'TypeScript' }).click();
  assert.ok((await page.getByRole('tabpanel').innerText()).includes(id));
  await look('clients-new-made');
  await ownToken(made, nodeUrl.href);
});

await step('its token arrives on the plot', async () => {
  await go('overview', 'Overview');
  await page.locator('figure.plot', { hasText: 'Tokens per minute' }).getByText('client_credentials').waitFor({ timeout: 60_000 });
});

let night;
await step('an invite, and the node that enrols with it is seen to be awake', async () => {
  await invite({ Name: HOSTILE.slice(0, 60) });
  await page.getByRole('table', { name: 'Invites' }).getByText('open', { exact: true }).first().waitFor();
  const port = await freePort();
  const url = `http://localhost:${port}/mcp`;
  const command = await invite({ Name: 'night', Resource: url });
  const folder = mkdtempSync(join(tmpdir(), 'edge-hive-night-'));
  const config = join(folder, 'mcp-node.toml');
  writeFileSync(config, `[server]\nlisten = ["127.0.0.1:${port}"]\nresource = "${url}"\n\n[node]\ndata_dir = ${JSON.stringify(join(folder, 'data'))}\n`);
  execFileSync(MCP_NODE, [...command.split(' ').slice(1), '--config', config], { cwd: folder, stdio: 'pipe' });
  const log = openSync(join(folder, 'node.log'), 'w');
  const program = spawn(MCP_NODE, ['serve', '--config', config], { cwd: folder, stdio: ['ignore', log, log] });
  process.on('exit', () => {
    program.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  night = { url };
  await until('the node is ready', async () => (await fetch(`http://localhost:${port}/readyz`).catch(() => ({}))).ok);
  const row = page.getByRole('table', { name: 'Nodes' }).getByRole('row').filter({ hasText: url });
  await until('the node is active', async () => {
    await go('fleet', 'Fleet');
    return (await row.getByText('active', { exact: true }).count()) > 0;
  });
  await page.locator('figure.map').getByText(/ of \d+ nodes? around this server reports? to it/).waitFor();
});

await step('its first call, on the plot and on its page', async () => {
  const tokens = () => page.locator('figure.plot', { hasText: 'Tokens per minute' }).locator('li', { hasText: 'client_credentials' });
  await go('overview', 'Overview');
  await tokens().waitFor({ timeout: PATIENCE });
  // The figure is that of the minute that goes on; over the end of a minute there is another one.
  const token = await ownToken(made, night.url);
  await tokens().locator('strong').filter({ hasNotText: /^0$/ }).waitFor({ timeout: PATIENCE });
  assert.equal(await call(token), 200);
  await go('fleet', 'Fleet');
  await page.getByRole('table', { name: 'Nodes' }).getByRole('row').filter({ hasText: night.url }).getByRole('link').first().click();
  await until('the call is told', async () => {
    await page.evaluate(() => dispatchEvent(new HashChangeEvent('hashchange')));
    await page.locator('dl.facts').getByText('Last contact').waitFor();
    return (await page.locator('dl.facts').getByText('ok: 1', { exact: true }).count()) > 0;
  });
  await look('node');
});

await step('a key, rotated at once', async () => {
  await go('keys', 'Keys');
  const current = () => page.getByRole('row').filter({ hasText: 'ES256' }).filter({ hasText: 'current' }).locator('code').innerText();
  const before = await current();
  await page.getByRole('button', { name: 'Rotate' }).click();
  await page.getByLabel('Algorithm').selectOption('ES256');
  await page.getByLabel('How').selectOption('now');
  await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
  await page.getByText('The new keys sign.').waitFor();
  await page.waitForFunction((old) => [...document.querySelectorAll('tr')].some((row) => row.textContent.includes(old) && row.textContent.includes('retired')), before);
  assert.notEqual(await current(), before);
});

let grantId;
await step('a consent ends, and the node refuses its tokens', async () => {
  const listener = await listen();
  const { client_id: agent } = operator('client', 'create', '--name', 'Night agent', '--public', '--redirect-uri', 'http://127.0.0.1/callback', '--scopes', 'mcp:read mcp:call', '--resource', night.url);
  const other = await openPage(await browser.newContext(), new URL(ISSUER).origin);
  const url = new URL(`${ISSUER}/oauth/authorize`);
  url.search = new URLSearchParams({
    response_type: 'code', client_id: agent, redirect_uri: listener.redirectUri, state: 'st', scope: 'mcp:read mcp:call',
    code_challenge: CHALLENGE, code_challenge_method: 'S256', resource: night.url,
  });
  const { redirect } = await authorize(other, url.href, somebody);
  await other.context().close();
  listener.close();
  const token = async (fields) => {
    const answer = await fetch(`${ISSUER}/oauth/token`, { method: 'POST', body: new URLSearchParams({ client_id: agent, ...fields }) });
    return { status: answer.status, ...(await answer.json()) };
  };
  const granted = await token({ grant_type: 'authorization_code', code: redirect.searchParams.get('code'), redirect_uri: listener.redirectUri, code_verifier: VERIFIER });
  assert.ok(granted.refresh_token, JSON.stringify(granted));
  assert.equal(await call(granted.access_token), 200);

  await go('consents', 'Consents');
  await page.getByLabel('Person').fill(somebody.username);
  await page.getByLabel('State').selectOption('standing');
  await page.waitForFunction(() => location.hash.includes('user_id=u_') && location.hash.includes('standing'));
  const row = page.getByRole('row').filter({ hasText: agent });
  grantId = await row.getByRole('link').first().innerText();
  await look('consents');
  await row.getByRole('link').first().click();
  await heading('Consent');
  await look('consent');
  await page.getByRole('button', { name: 'Revoke', exact: true }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke it' }).click();
  await page.getByText('The consent is revoked.').waitFor();
  const refreshed = await token({ grant_type: 'refresh_token', refresh_token: granted.refresh_token });
  assert.equal(refreshed.error, 'invalid_grant', JSON.stringify(refreshed));
  const began = Date.now();
  await until('the node refuses', async () => (await call(granted.access_token)) === 401);
  const seconds = (Date.now() - began) / 1000;

  await go('tokens', 'Tokens');
  await page.getByRole('button', { name: 'What is this token?' }).click();
  await page.getByLabel('Token', { exact: true }).fill(granted.access_token);
  await page.getByRole('button', { name: 'Look', exact: true }).click();
  await page.getByRole('dialog', { name: 'No active token' }).getByRole('button', { name: 'Close' }).click();
  return { told: `the node refused ${seconds.toFixed(1)} s later` };
});

await step('all of it is in the audit trail, and the trail is whole', async () => {
  for (const [event, target] of [['grant.revoked', grantId], ['client.created', made.id], ['node.invited', ''], ['node.enrolled', ''], ['key.rotated', '']]) {
    await go(`audit?event=${event}`, 'Audit trail');
    await page.getByRole('row').filter({ hasText: event }).filter({ hasText: target }).first().waitFor();
  }
  await page.getByRole('button', { name: 'Check the chain' }).click();
  await page.getByText('The log is whole:').waitFor();
});

await step('no text runs', async () => {
  const { client_id: id } = operator('client', 'create', '--name', HOSTILE);
  const { user_id: user } = operator('user', 'create', '--username', 'mallory', '--display-name', HOSTILE.slice(0, 100));
  for (const [path, title] of [['clients', 'Clients'], [`clients/${id}`], ['users', 'People'], [`users/${user}`], ['fleet', 'Fleet'], [`audit?target=${id}`, 'Audit trail'], ['overview', 'Overview']]) {
    await go(path, title);
    if (path.startsWith('clients') || path.startsWith('users')) await page.locator('main').getByText('<img src=x', { exact: false }).first().waitFor();
    assert.equal(await page.evaluate(() => [globalThis.ran, document.querySelectorAll('main img, main script').length].join()), ',0', path);
  }
  assert.deepEqual(page.complaints, [], 'the browser complained');
});

await step('every view, in three widths and two themes', async () => {
  const views = [
    ['overview', 'Overview'], ['fleet', 'Fleet'], ['clients', 'Clients'], [`clients/${clientId}`], ['resources', 'Resources'], ['users', 'People'],
    ['tokens', 'Tokens'], ['approvals', 'Approvals'], ['audit', 'Audit trail'], ['keys', 'Keys'], ['settings', 'Settings'],
  ];
  for (const [path, title] of views) {
    await go(path, title);
    await look(path.startsWith('clients/') ? 'client' : path);
  }
  return { told: `${views.length} views` };
});

await step('who sees whom, on the map of a fleet', async () => {
  // The API's own answer, with five nodes for one.
  const sees = { a: ['b', 'c'], b: ['a'], c: ['a', 'nobody'], d: ['a'], e: ['a', 'b', 'c'] };
  await page.route('**/admin/v1/nodes?*', async (route) => {
    const answer = await route.fetch();
    const { items: [one] } = await answer.json();
    const items = Object.entries(sees).map(([id, peers]) => ({ ...one, node_id: id, name: `node ${id}`, state: id === 'e' ? 'silent' : 'active', sees: peers }));
    await route.fulfill({ response: answer, json: { items } });
  });
  await go('fleet', 'Fleet');
  const map = page.locator('figure.map');
  await map.getByText('4 of 5 nodes around this server report to it, 1 is silent, 3 pairs of nodes see each other.').waitFor();
  assert.equal(await map.locator('line.sight').count(), 3);
  assert.equal(await map.locator('g.node.silent').count(), 1);
  await look('fleet-map');
  await page.unroute('**/admin/v1/nodes?*');
});

await step('by keyboard, and after a reload', async () => {
  await go('overview', 'Overview');
  const clients = page.locator('#views').getByRole('link', { name: 'Clients' });
  for (let presses = 0; presses < 20 && !(await focused(clients)); presses += 1) await page.keyboard.press('Shift+Tab');
  assert.ok(await focused(clients), 'the keyboard does not reach the views');
  await page.keyboard.press('Enter');
  await heading('Clients');
  assert.ok(await focused(page.locator('h1')), 'the focus is not on the heading of the view');
  await page.reload();
  await heading('Clients');
  // A dialogue gives the focus back.
  await go('keys', 'Keys');
  const rotate = page.getByRole('button', { name: 'Rotate' });
  await rotate.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  assert.ok(await focused(rotate), 'the focus is lost with the dialogue');
});

await step('who only looks changes nothing', async () => {
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByText('You are signed out of the console.').waitFor();
  await look('signed-out');
  await page.getByRole('button', { name: 'Sign in to look only' }).click();
  await heading('Overview');
  await page.getByText('looks only').waitFor();
  for (const [path, title] of [['clients', 'Clients'], [`clients/${clientId}`], ['users', 'People'], ['fleet', 'Fleet'], ['keys', 'Keys'], ['consents', 'Consents']]) {
    await go(path, title);
    const names = /^(New|Invite|Revoke|Rotate|Change|Reset|Close$|Cut|Take out|Withdraw)/;
    const offered = await page.locator('main').getByRole('button', { name: names }).or(page.locator('main').getByRole('link', { name: names })).allInnerTexts();
    assert.deepEqual(offered, [], path);
  }
  await go('clients/new', 'New client');
  await page.getByText('may not make clients').waitFor();
});

await step('the page on which the API is tried', async () => {
  const admin = `${ISSUER}/admin/v1`;
  const { client_id: id, client_secret: secret } = operator('client', 'create', '--name', 'Explorer', '--scopes', 'admin:read', '--resource', admin);
  const token = await ownToken({ id, secret }, admin);
  const answer = await page.goto(`${ISSUER}/admin/explorer`);
  assert.match(answer.headers()['content-security-policy'], /^default-src 'none'; .*script-src 'self'/);
  await heading('Admin API');
  await page.getByLabel('Access token').fill(token);
  await page.getByLabel('Find').fill('list enrolments');
  const operations = page.locator('details:visible');
  assert.equal(await operations.count(), 1);
  await operations.locator('summary').click();
  await operations.getByLabel('state').selectOption('active');
  await operations.getByRole('button', { name: 'Send' }).click();
  const result = operations.locator('pre');
  await result.getByText('200 OK').waitFor();
  assert.ok((await result.innerText()).includes(`"resource": "${night.url}"`), await result.innerText());
  await look('explorer');
  assert.deepEqual(page.complaints, [], 'the browser complained');
  // What came in between would not run.
  const forbidden = await page.evaluate(() => new Promise((resolve) => {
    document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective), { once: true });
    document.body.append(Object.assign(document.createElement('script'), { textContent: 'globalThis.ran = 1' }));
  }));
  assert.equal(`${forbidden} ${await page.evaluate(() => globalThis.ran)}`, 'script-src-elem undefined');
  page.complaints.length = 0;
});

assert.deepEqual(page.complaints, [], 'the browser complained');
await browser.close();
process.exit(0);

// Makes an invite, with these fields; returns the command that it ends in.
async function invite(fields) {
  await go('fleet', 'Fleet');
  await page.getByRole('button', { name: 'Invite a node' }).click();
  for (const [label, value] of Object.entries(fields)) await page.getByRole('dialog').getByLabel(label, { exact: true }).fill(value);
  await page.getByRole('button', { name: 'Make the invite' }).click();
  const dialog = page.getByRole('dialog', { name: 'The invite' });
  const command = await dialog.locator('.value').first().innerText();
  assert.match(command, /^mcp-node enroll .*ehi_/);
  await dialog.getByRole('button', { name: 'I have it' }).click();
  await dialog.waitFor({ state: 'hidden' });
  return command;
}

// A token of a client on its own behalf.
async function ownToken({ id, secret }, resource) {
  const answer = await fetch(`${ISSUER}/oauth/token`, {
    method: 'POST',
    headers: { Authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource }),
  });
  const body = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(body));
  return body.access_token;
}

// Calls a tool of the node that enrolled; its status.
async function call(token) {
  const answer = await fetch(`${night.url}/tools/call`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'get_status', arguments: {} }),
  });
  await answer.text();
  return answer.status;
}

// Waits until something is so.
async function until(what, isSo) {
  const end = Date.now() + PATIENCE;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, `${what}: not in ${PATIENCE / 1000} s`);
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// With the password, unless the browser is signed in already and comes to `place`.
async function signIn(place) {
  await page.locator(`form[action$="/login"] input[name=password], ${place}`).first().waitFor();
  if (await page.locator(place).count()) return;
  await page.fill('input[name=username]', boss.username);
  await page.fill('input[name=password]', boss.password);
  await page.click('form[action$="/login"] button[type=submit]');
}

// With the passkey, in a browser that is signed in nowhere.
async function enter(button) {
  await page.goto(`${ISSUER}/logout`);
  await page.click('main form[action$="/logout"] button');
  await page.waitForLoadState();
  await page.goto(`${ISSUER}/console`);
  await page.getByRole('button', { name: button, exact: true }).click();
  await page.fill('input[name=username]', boss.username);
  await page.click('[data-passkey=sign-in] button');
  await heading('Overview');
}

async function heading(name) {
  await page.getByRole('heading', { level: 1, name }).waitFor();
}

// Goes to a view and waits until it is there.
async function go(path, title) {
  await page.evaluate(() => document.querySelector('h1')?.setAttribute('data-old', ''));
  const before = await page.evaluate(() => location.hash);
  if (before === `#/${path}`) await page.evaluate(() => dispatchEvent(new HashChangeEvent('hashchange')));
  else await page.evaluate((hash) => { location.hash = hash; }, `#/${path}`);
  await page.locator('h1:not([data-old])').waitFor();
  if (title) await heading(title);
  if (path !== 'clients/new') assert.equal(await page.locator('main .alert').count(), 0, `${path}: ${await page.locator('main').innerText()}`);
}

function focused(locator) {
  return locator.evaluate((element) => element === document.activeElement);
}

// What must be true of each view, and its pictures.
async function look(name) {
  for (const [size, width] of SIZES) {
    await page.setViewportSize({ width, height: 900 });
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const actual = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(actual <= width, `${name} is ${actual} wide on a ${size}`);
      // Either theme and either layout, once.
      if (`${size} ${colorScheme}` === 'desk light' || `${size} ${colorScheme}` === 'phone dark') await check(`${name}, ${size}, ${colorScheme}`);
      if (SHOTS) await page.screenshot({ path: join(SHOTS, `console-${name}.${size}-${colorScheme}.png`), fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1280, height: 900 });
}

async function check(where) {
  // Buttons take a moment to change their colours with the theme.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map(({ finished }) => finished)));
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`), [], where);
}
