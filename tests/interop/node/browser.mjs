// A person at Chromium, driven by Playwright: signs in and decides on our real pages.
//
// As a program: `node browser.mjs AUTHORIZATION-URL` walks to the redirect and prints where it ended. PERSON and PASSWORD
// come from the environment.

import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

// Playwright's own download is not used: the distribution's browser is what people have.
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const PATIENCE = 20_000;

// Starts Chromium. As root it cannot use its own sandbox; it visits nothing but the loopback.
export function launch() {
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
}

// A page that keeps what the browser complains of on pages of `server`: a script that throws, an address that the policy
// forbids. What a client's own callback page does is the client's affair.
export async function openPage(context, server) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.complaints = [];
  const complain = (url, text) => {
    if (!url || new URL(url).origin === server) page.complaints.push(text);
  };
  page.on('pageerror', (error) => complain(page.url(), `script: ${error.message}`));
  page.on('console', (message) => {
    // A refusal is shown to the person with its own status; Chromium calls every 4xx an error.
    const isStatus = message.text().startsWith('Failed to load resource: the server responded with a status of 4');
    if (['error', 'warning'].includes(message.type()) && !isStatus) complain(message.location().url, message.text());
  });
  return page;
}

// Opens an authorization request and does what the pages ask until the browser is sent to another origin. Returns that
// address as the browser requested it, and the headings that the person saw.
export async function authorize(page, authorizationUrl, { username, password, decision = 'allow', remember = false }) {
  const server = new URL(authorizationUrl).origin;
  const seen = [];
  const landed = new Promise((resolve) => {
    page.on('request', function look(request) {
      const isElsewhere = request.isNavigationRequest() && new URL(request.url()).origin !== server;
      if (!isElsewhere) return;
      page.off('request', look);
      resolve(request.url());
    });
  });
  await page.goto(authorizationUrl.toString());
  for (let pages = 0; pages < 4 && new URL(page.url()).origin === server; pages += 1) {
    seen.push(await page.locator('h1').innerText());
    await answer(page, { username, password, decision, remember });
  }
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`still at ${page.url()}, having seen: ${seen.join(' | ')}`)), PATIENCE).unref();
  });
  const redirect = new URL(await Promise.race([landed, late]));
  await page.waitForURL((url) => url.origin !== server, { waitUntil: 'commit' });
  return { redirect, seen };
}

// Does what one page asks.
async function answer(page, { username, password, decision, remember }) {
  const before = page.url();
  if (await page.locator('input[name=password]').count()) {
    await page.fill('input[name=username]', username);
    await page.fill('input[name=password]', password);
    await leave(page, () => page.click('form[action$="/login"] button[type=submit]'));
  } else if (await page.locator('button[name=decision]').count()) {
    if (remember) await page.check('input[name=remember]');
    await leave(page, () => page.click(`button[name=decision][value=${decision}]`));
  } else {
    throw new Error(`nothing to do at ${before}: ${(await page.locator('main').innerText()).slice(0, 300)}`);
  }
}

// A click that ends in another document, whichever.
async function leave(page, action) {
  await Promise.all([page.waitForEvent('framenavigated', { predicate: (frame) => frame === page.mainFrame() }), action()]);
  await page.waitForLoadState('domcontentloaded');
}

// The client's side of the redirect: a listener on 127.0.0.1.
export async function listen(path = '/callback') {
  let arrived;
  const received = new Promise((resolve) => {
    arrived = resolve;
  });
  const server = createServer((request, response) => {
    const url = new URL(request.url, `http://${request.headers.host}`);
    response.writeHead(url.pathname === path ? 200 : 404, { 'Content-Type': 'text/plain', Connection: 'close' });
    response.end('You may close this window.\n');
    if (url.pathname === path) arrived(url);
  });
  await new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const redirectUri = `http://127.0.0.1:${server.address().port}${path}`;
  return { redirectUri, received, close: () => server.close() };
}

// One visit in a browser that is open already, or in one of its own. Complaints of the browser fail it.
export async function visit(authorizationUrl, person, context) {
  const browser = context ? undefined : await launch();
  try {
    const page = await openPage(context ?? (await browser.newContext()), new URL(authorizationUrl).origin);
    const outcome = await authorize(page, authorizationUrl, person);
    if (page.complaints.length > 0) throw new Error(`the browser complained: ${page.complaints.join('; ')}`);
    await page.close();
    return outcome;
  } finally {
    await browser?.close();
  }
}

// Who signs in: the account in the environment.
export function person() {
  const { PERSON, PASSWORD } = process.env;
  if (!PERSON || !PASSWORD) {
    console.error('missing in the environment: PERSON, PASSWORD');
    process.exit(2);
  }
  return { username: PERSON, password: PASSWORD };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { redirect } = await visit(process.argv[2], person());
  console.log(redirect.href);
}
