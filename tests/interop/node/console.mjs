// An operator's day in the console: the first sign-in by the printed link, a client, an invite, a rotation, a consent that
// ends, and all of it in the audit trail; somebody who only looks; text that would like to run.
//
// Fails on any complaint of the browser, on a serious fault that axe finds, on a view that is wider than its window.
// Pictures of every view, in three widths and two themes, go into the folder SHOTS if it is given. Runs after pages.mjs,
// which shows the page of the link that is used up here.

import { createRequire } from 'node:module';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { authorize, launch, listen, openPage, person } from './browser.mjs';
import { assert, operator, start, step } from './steps.mjs';

const { nodeUrl, clientId } = start();
const { ISSUER, PUBLIC_CLIENT_ID, FIRST_LINK, SHOTS } = process.env;
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
  const answer = await fetch(`${ISSUER}/oauth/token`, {
    method: 'POST',
    headers: { Authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: nodeUrl.href }),
  });
  assert.equal(answer.status, 200, await answer.text());
});

await step('its token arrives on the plot', async () => {
  await go('overview', 'Overview');
  await page.locator('figure.plot', { hasText: 'Tokens per minute' }).getByText('client_credentials').waitFor({ timeout: 60_000 });
});

await step('an invite for a node', async () => {
  await go('fleet', 'Fleet');
  await page.getByRole('button', { name: 'Invite a node' }).click();
  await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill(HOSTILE.slice(0, 60));
  await page.getByRole('button', { name: 'Make the invite' }).click();
  const dialog = page.getByRole('dialog', { name: 'The invite' });
  const command = await dialog.locator('.value').first().innerText();
  assert.match(command, /^mcp-node enroll .*ehi_/);
  await dialog.getByRole('button', { name: 'I have it' }).click();
  await page.getByRole('table', { name: 'Invites' }).getByText('open', { exact: true }).first().waitFor();
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
await step('a consent ends, and its tokens with it', async () => {
  const listener = await listen();
  const other = await openPage(await browser.newContext(), new URL(ISSUER).origin);
  const url = new URL(`${ISSUER}/oauth/authorize`);
  url.search = new URLSearchParams({
    response_type: 'code', client_id: PUBLIC_CLIENT_ID, redirect_uri: listener.redirectUri, state: 'st', scope: 'mcp:read',
    code_challenge: CHALLENGE, code_challenge_method: 'S256', resource: nodeUrl.href,
  });
  const { redirect } = await authorize(other, url.href, somebody);
  await other.context().close();
  listener.close();
  const token = async (fields) => {
    const answer = await fetch(`${ISSUER}/oauth/token`, { method: 'POST', body: new URLSearchParams({ client_id: PUBLIC_CLIENT_ID, ...fields }) });
    return { status: answer.status, ...(await answer.json()) };
  };
  const granted = await token({ grant_type: 'authorization_code', code: redirect.searchParams.get('code'), redirect_uri: listener.redirectUri, code_verifier: VERIFIER });
  assert.ok(granted.refresh_token, JSON.stringify(granted));

  await go('consents', 'Consents');
  await page.getByLabel('Person').fill(somebody.username);
  await page.getByLabel('State').selectOption('standing');
  await page.waitForFunction(() => location.hash.includes('user_id=u_') && location.hash.includes('standing'));
  const row = page.getByRole('row').filter({ hasText: PUBLIC_CLIENT_ID });
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

  await go('tokens', 'Tokens');
  await page.getByRole('button', { name: 'What is this token?' }).click();
  await page.getByLabel('Token', { exact: true }).fill(granted.access_token);
  await page.getByRole('button', { name: 'Look', exact: true }).click();
  await page.getByRole('dialog', { name: 'No active token' }).getByRole('button', { name: 'Close' }).click();
});

await step('all of it is in the audit trail, and the trail is whole', async () => {
  for (const [event, target] of [['grant.revoked', grantId], ['client.created', made.id], ['node.invited', ''], ['key.rotated', '']]) {
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

assert.deepEqual(page.complaints, [], 'the browser complained');
await browser.close();
process.exit(0);

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
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`), [], where);
}
