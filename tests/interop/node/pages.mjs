// Every page, as a person meets it: light, dark and on a phone, in English and Spanish, with and without script.
//
// Fails on any complaint of the browser, on a page that is wider than a phone, on a field without a label. Pictures of
// every page go into the folder SHOTS if it is given, for somebody to look at.

import { createHmac } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { AskingNode } from './asking-node.mjs';
import { authorize, launch, listen, openPage, person } from './browser.mjs';
import { assert, operator, start, step } from './steps.mjs';

const { nodeUrl } = start();
const { ISSUER, PUBLIC_CLIENT_ID, DEVICE_CLIENT_ID, FIRST_LINK, PASSWORD_LINK, SHOTS } = process.env;
const somebody = person();
// RFC 7636 appendix B: nothing here is secret.
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 900 };

if (SHOTS) mkdirSync(SHOTS, { recursive: true });
const browser = await launch();
const listener = await listen();
const server = new URL(ISSUER).origin;

await step('a person without script: sign-in, consent and denial, by keyboard', async () => {
  const page = await open({ javaScriptEnabled: false });
  await page.goto(`${request('mcp:read')}&prompt=consent`);
  // The first field has the focus once the page has been drawn, which may be after it was loaded.
  await page.locator('input[name=username]:focus').waitFor();
  await page.keyboard.type(somebody.username);
  await page.keyboard.press('Tab');
  await page.keyboard.type(somebody.password);
  await Promise.all([page.waitForURL(/\/consent\?/), page.keyboard.press('Enter')]);
  const allow = page.locator('button[name=decision][value=allow]');
  for (let presses = 0; presses < 20 && !(await focused(allow)); presses += 1) await page.keyboard.press('Tab');
  assert.ok(await focused(allow), 'the keyboard does not reach the button');
  const [redirect] = await Promise.all([leaving(page), page.keyboard.press('Enter')]);
  assert.ok(redirect.searchParams.get('code'), redirect.href);
  const denied = await authorize(page, `${request('mcp:read')}&prompt=consent`, { ...somebody, decision: 'deny' });
  assert.equal(denied.redirect.searchParams.get('error'), 'access_denied');
  assert.equal(denied.redirect.searchParams.get('iss'), ISSUER);
  await done(page);
});

await step('sign-in, refused and right; consent, step-up, remembered', async () => {
  const page = await open();
  await page.goto(request('mcp:read mcp:resources'));
  await look(page, 'sign-in');
  await signIn(page, `${somebody.password}x`);
  await look(page, 'sign-in-refused');
  assert.ok(await page.locator('[role=alert]').count(), 'the refusal is announced');
  await signIn(page);
  await look(page, 'consent');
  await page.check('input[name=remember]');
  const [first] = await Promise.all([leaving(page), page.click('button[value=allow]')]);
  assert.ok(first.searchParams.get('code'), first.href);
  await page.goto(request('mcp:read mcp:call'));
  await look(page, 'consent-step-up');
  await Promise.all([leaving(page), page.click('button[value=deny]')]);
  const { seen } = await authorize(page, request('mcp:read'), somebody);
  assert.deepEqual(seen, [], 'what was remembered is not asked again');
  await done(page);

  // The form of the sign-in page ends at the client here: a policy that forgets it would leave the person stuck.
  const other = await open();
  const again = await authorize(other, request('mcp:read'), somebody);
  assert.deepEqual(again.seen, ['Sign in']);
  assert.ok(again.redirect.searchParams.get('code'), again.redirect.href);
  await done(other);
});

await step('Spanish', async () => {
  const page = await open({ locale: 'es-ES' });
  await page.goto(request('mcp:read mcp:call'));
  assert.equal(await page.locator('html').getAttribute('lang'), 'es');
  await look(page, 'sign-in-es');
  await signIn(page);
  await look(page, 'consent-es');
  await done(page);
});

await step('a device: code, confirmation, tokens', async () => {
  const page = await open();
  const asked = await post('/oauth/device_authorization', { client_id: DEVICE_CLIENT_ID, resource: nodeUrl.href });
  assert.ok(asked.user_code && asked.verification_uri_complete, JSON.stringify(asked));
  await page.goto(asked.verification_uri);
  await look(page, 'device');
  await page.fill('#user_code', 'AAAA-AAAA');
  await page.click('form[action$="/device"] button');
  await page.locator('[role=alert]').waitFor();
  await look(page, 'device-refused');
  await page.goto(asked.verification_uri_complete);
  assert.equal(await page.locator('#user_code').inputValue(), asked.user_code);
  await look(page, 'device-with-code');
  await page.click('form[action$="/device"] button');
  await page.locator('input[name=password]').waitFor();
  await signIn(page);
  await page.locator('button[name=decision][value=allow]').waitFor();
  await look(page, 'device-confirm');
  await page.click('button[name=decision][value=allow]');
  await page.locator('svg.seal.good').waitFor();
  await look(page, 'device-done');
  const tokens = await post('/oauth/token', {
    grant_type: 'urn:ietf:params:oauth:grant-type:device_code', client_id: DEVICE_CLIENT_ID, device_code: asked.device_code,
  });
  assert.ok(tokens.access_token && tokens.refresh_token, Object.keys(tokens).join());
  await done(page);
});

await step('a call that waits for a person: shown, denied, allowed, over', async () => {
  const users = operator('user', 'list');
  const me = (users.users ?? users).find((user) => user.username === somebody.username);
  const caller = { subject: me.user_id ?? me.id ?? me.sub, client: PUBLIC_CLIENT_ID };
  const node = await AskingNode.enrol(ISSUER, 'attic');
  const long = { path: '/srv/backups/2026/11/27/' + 'a-very-long-folder-name/'.repeat(8), recursive: true, keep: [1, 2, 3], owner: { name: 'Inés', uid: 1000 } };
  const ask = (tool, text) => node.ask(tool, 'Deletes files and folders on the machine where the node runs', text, caller);
  const page = await open();
  await page.goto(await ask('fs_delete', JSON.stringify(long)));
  await look(page, 'approval-sign-in');
  await signIn(page);
  await page.locator('button[name=decision][value=approve]').waitFor();
  assert.ok((await page.locator('pre.arguments').innerText()).includes('"recursive": true'));
  await look(page, 'approval');
  await page.click('button[name=decision][value=approve]');
  await page.locator('svg.seal.good').waitFor();
  await look(page, 'approval-approved');
  const again = await ask('fs_delete', '{}');
  await page.goto(again);
  await page.locator('button[name=decision][value=deny]').waitFor();
  await look(page, 'approval-without-arguments');
  await page.click('button[name=decision][value=deny]');
  await page.locator('svg.seal.bad').waitFor();
  await look(page, 'approval-denied');
  const answer = await page.goto(again);
  assert.equal(answer.status(), 400);
  await look(page, 'approval-over');
  await done(page);

  // Whatever there is of arguments is seen before the buttons. By keyboard and without script, in Spanish.
  const other = await open({ javaScriptEnabled: false, locale: 'es-ES' });
  await other.goto(await ask('fs_write', JSON.stringify({ lines: Array.from({ length: 60 }, (_, n) => `line ${n}`) })));
  await signIn(other);
  await look(other, 'approval-es');
  const hidden = await other.locator('pre.arguments').evaluate((box) => box.scrollHeight - box.clientHeight);
  assert.ok(hidden <= 1, `${hidden} of the arguments are out of sight`);
  const allow = other.locator('button[name=decision][value=approve]');
  for (let presses = 0; presses < 20 && !(await focused(allow)); presses += 1) await other.keyboard.press('Tab');
  assert.ok(await focused(allow), 'the keyboard does not reach the button');
  await other.keyboard.press('Enter');
  await other.locator('svg.seal.good').waitFor();
  await done(other);
});

await step('one-time links: the first administrator, a password to set', async () => {
  const page = await open();
  await page.goto(FIRST_LINK);
  await look(page, 'first-administrator');
  await page.goto(PASSWORD_LINK);
  await look(page, 'set-password');
  await page.fill('#password', somebody.password);
  await page.fill('#password_again', somebody.password);
  await page.click('form[action$="/login/link"] button');
  await page.waitForLoadState();
  await look(page, 'set-password-done');
  await page.goto(PASSWORD_LINK);
  await look(page, 'link-used');
  await done(page);
});

await step('nothing proven, nothing sent: a page', async () => {
  const page = await open();
  const answer = await page.goto(`${ISSUER}/oauth/authorize?client_id=nobody&redirect_uri=https://evil.example/`);
  assert.equal(answer.status(), 400);
  assert.equal(new URL(page.url()).origin, server);
  await look(page, 'failed');
  await done(page);
});

await step('a passkey: added on the account page, then used to sign in', async () => {
  const page = await open();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });
  await page.goto(`${ISSUER}/login`);
  await signIn(page);
  await page.waitForURL(/\/account/);
  await look(page, 'account');
  await page.fill('#passkey_name', 'Laptop');
  const section = page.locator('#passkeys');
  await section.getByRole('button').last().click();
  await section.getByRole('heading', { name: 'Laptop' }).waitFor();
  await look(page, 'account-with-passkey');
  await signOut(page);
  await page.goto(request('mcp:read mcp:call'));
  await page.fill('input[name=username]', somebody.username);
  await Promise.all([page.waitForURL(/\/consent\?/), page.click('[data-passkey=sign-in] button')]);
  await look(page, 'consent-after-passkey');
  await done(page);
});

await step('a second factor: enrolled, asked for, a recovery code instead', async () => {
  const page = await open();
  await page.goto(`${ISSUER}/login`);
  await signIn(page);
  await Promise.all([page.waitForLoadState(), page.click('form[action$="/account/totp/start"] button')]);
  await page.locator('.secret code').waitFor();
  await look(page, 'second-factor-enrol');
  const secret = (await page.locator('.secret code').innerText()).replace(/\s/g, '');
  await page.fill('#code', totp(secret, 0));
  await page.click('form[action$="/account/totp/confirm"] button.primary');
  await page.locator('.codes').waitFor();
  await look(page, 'recovery-codes');
  const codes = await page.locator('.codes code').allInnerTexts();
  assert.equal(codes.length, 10);
  await page.goto(`${ISSUER}/account`);
  await look(page, 'account-with-second-factor');
  await signOut(page);

  await page.goto(`${ISSUER}/login`);
  await signIn(page);
  await look(page, 'second-factor');
  await page.fill('#code', '000000');
  await page.click('form[action$="/login/second-factor"] button');
  await page.locator('[role=alert]').waitFor();
  await look(page, 'second-factor-refused');
  await page.fill('#code', codes[0]);
  await Promise.all([page.waitForURL(/\/account/), page.click('form[action$="/login/second-factor"] button')]);
  await page.click('form[action$="/account/totp/remove"] button');
  await page.locator('form[action$="/account/totp/start"]').waitFor();
  await done(page);
});

listener.close();
await browser.close();
process.exit(0);

async function open(options = {}) {
  return openPage(await browser.newContext({ viewport: DESK, locale: 'en-GB', ...options }), server);
}

async function done(page) {
  assert.deepEqual(page.complaints, [], 'the browser complained');
  await page.context().close();
}

function request(scope) {
  const url = new URL(`${ISSUER}/oauth/authorize`);
  url.search = new URLSearchParams({
    response_type: 'code', client_id: PUBLIC_CLIENT_ID, redirect_uri: listener.redirectUri, state: 'st', scope,
    code_challenge: CHALLENGE, code_challenge_method: 'S256', resource: nodeUrl.href,
  });
  return url.href;
}

async function signIn(page, password = somebody.password) {
  await page.fill('input[name=username]', somebody.username);
  await page.fill('input[name=password]', password);
  await Promise.all([
    page.waitForEvent('framenavigated', { predicate: (frame) => frame === page.mainFrame() }),
    page.click('form[action$="/login"] button[type=submit]'),
  ]);
  await page.waitForLoadState();
}

async function signOut(page) {
  await page.goto(`${ISSUER}/logout`);
  await look(page, 'sign-out');
  await page.click('main form[action$="/logout"] button');
  await page.waitForLoadState();
  await look(page, 'signed-out');
}

// The next address that the browser asks another origin for.
async function leaving(page) {
  const isElsewhere = (asked) => asked.isNavigationRequest() && new URL(asked.url()).origin !== server;
  const redirect = new URL((await page.waitForRequest(isElsewhere)).url());
  await page.waitForURL((url) => url.origin !== server);
  return redirect;
}

function focused(locator) {
  return locator.evaluate((element) => element === document.activeElement);
}

async function post(path, fields) {
  const answer = await fetch(ISSUER + path, { method: 'POST', body: new URLSearchParams(fields) });
  const body = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(body));
  return body;
}

// What must be true of each page, and its pictures.
async function look(page, name) {
  await page.waitForLoadState();
  const { level1, unlabelled, mains } = await page.evaluate(() => {
    const fields = [...document.querySelectorAll('input:not([type=hidden]):not([aria-hidden=true]), select, textarea')];
    return {
      level1: document.querySelectorAll('h1').length,
      mains: document.querySelectorAll('main').length,
      unlabelled: fields.filter((field) => !field.labels?.length && !field.ariaLabel).map((field) => field.outerHTML),
    };
  });
  assert.deepEqual([level1, mains, unlabelled], [1, 1, []], name);
  for (const [variant, colorScheme, size] of [
    ['light', 'light', DESK], ['dark', 'dark', DESK], ['phone', 'light', PHONE], ['phone-dark', 'dark', PHONE],
  ]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(size);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= size.width, `${name} is ${width} wide on a ${variant}`);
    if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}.${variant}.png`), fullPage: true });
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(DESK);
}

// RFC 6238 with what every authenticator app uses: SHA-1, 30 s, six digits.
function totp(secret, steps) {
  const bits = [...secret].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = createHmac('sha1', key).update(counter).digest();
  const code = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff;
  return String(code % 1_000_000).padStart(6, '0');
}
