// The console: signs in, and shows one view after another. Everything it knows and does is asked of the admin API.

import { ask, learn, offered, onEnd } from './api.js';
import { h, say, show } from './dom.js';
import { button, heading } from './parts.js';
import * as signIn from './signin.js';
import * as approvals from './views/approvals.js';
import * as audit from './views/audit.js';
import * as clients from './views/clients.js';
import * as fleet from './views/fleet.js';
import * as grants from './views/grants.js';
import * as keys from './views/keys.js';
import * as newClient from './views/new-client.js';
import * as overview from './views/overview.js';
import * as resources from './views/resources.js';
import * as settings from './views/settings.js';
import * as tokens from './views/tokens.js';
import * as users from './views/users.js';

// [name in the address, title, view, the operation without which there is none, its noun]
const VIEWS = [
  ['overview', 'Overview', overview, 'showStatistics', 'statistics'],
  ['fleet', 'Fleet', fleet, 'listNodes', 'nodes'],
  ['clients', 'Clients', clients, 'listClients', 'clients'],
  ['resources', 'Resources', resources, 'listResources', 'resources'],
  ['users', 'People', users, 'listUsers', 'users'],
  ['consents', 'Consents', grants, 'listGrants', 'grants'],
  ['tokens', 'Tokens', tokens, 'listTokens', 'tokens'],
  ['approvals', 'Approvals', approvals, 'listApprovals', 'approvals'],
  ['audit', 'Audit trail', audit, 'listAuditEvents', 'audit'],
  ['keys', 'Keys', keys, 'listKeys', 'keys'],
  ['settings', 'Settings', settings, 'listSettings', 'configuration'],
];

const main = document.getElementById('main');
const nav = document.getElementById('views');
const who = document.getElementById('person');
const REASONS = {
  access_denied: 'This account is no administrator of this server.',
  unmet_authentication_requirements:
    'The console wants a passkey, or a password and a second factor. Add one of them to your account, then sign in again.',
};

let stop = () => {};
let turn = 0;

function available() {
  return VIEWS.filter(([, , , operation, noun]) => offered(operation) && signIn.may('read', noun));
}

// Where the address leads: `#/clients/c_x?state=active`.
function wanted() {
  const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').filter(Boolean).map(decoded);
  return { parts, query: Object.fromEntries(new URLSearchParams(search ?? '')) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function route({ keepsFocus = false } = {}) {
  turn += 1;
  const mine = turn;
  stop();
  stop = () => {};
  const { parts, query } = wanted();
  const known = available();
  const name = parts[0] ?? known[0]?.[0];
  const found = known.find(([word]) => word === name);
  for (const item of nav.querySelectorAll('a')) {
    if (item.dataset.view === name) item.setAttribute('aria-current', 'page');
    else item.removeAttribute('aria-current');
  }
  fold();
  if (!found) {
    arrive('Nothing here', [heading('Nothing here', 'There is no such view, or this sign-in may not see it.')]);
    return;
  }
  const waiting = setTimeout(() => show(main, h('p', { class: 'status', role: 'status' }, 'Loading …')), 200);
  const isNew = name === 'clients' && parts[1] === 'new';
  const view = isNew ? newClient : found[2];
  const context = {
    id: parts[1],
    query,
    may: (right, noun = found[4]) => signIn.may(right, noun),
    isCurrent: () => mine === turn,
    onStop: (action) => {
      if (mine === turn) stop = action;
      else action();
    },
    // Shows the view anew, as things are now.
    again: () => route({ keepsFocus: true }),
    go: (path) => {
      if (location.hash === `#/${path}`) route();
      else location.hash = `#/${path}`;
    },
  };
  try {
    const content = await view.show(context);
    clearTimeout(waiting);
    if (mine === turn) arrive(found[1], content, keepsFocus);
  } catch (refusal) {
    clearTimeout(waiting);
    if (mine !== turn) return;
    arrive(found[1], [
      heading(found[1]),
      h('p', { class: 'alert', role: 'alert' }, refusal.message),
      h('p', {}, button('Try again', route)),
    ]);
  }
}

// Puts a view there, and the focus on its heading: otherwise whoever cannot see does not know that it came.
function arrive(title, content, keepsFocus = false) {
  show(main, content);
  const first = main.querySelector('h1');
  document.title = `${first?.textContent || title} · Edge Hive console`;
  if (!keepsFocus) {
    first?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function welcome(sentence, isBad = false, ...more) {
  document.title = 'Sign in · Edge Hive console';
  nav.hidden = true;
  show(who);
  const obstacle = signIn.obstacle();
  show(main, h('section', { class: 'card narrow-card' },
    h('h1', { tabindex: '-1' }, 'Console'),
    h('p', { class: 'lead' }, 'For the administrators of this server. It wants a passkey, or a password and a second factor.'),
    sentence && h('p', { class: isBad ? 'alert' : 'notice', role: isBad ? 'alert' : 'status' }, sentence),
    more,
    obstacle ? h('p', { class: 'alert' }, obstacle) : h('div', { class: 'stack decide' },
      button('Sign in', () => signIn.begin({ prompt: isBad ? 'login' : undefined }), { kind: 'primary' }),
      button('Sign in to look only', () => signIn.begin({ isToRead: true, prompt: isBad ? 'login' : undefined }), { kind: 'plain' }))));
  main.querySelector('h1').focus();
}

function refused({ code, sentence }) {
  const reason = REASONS[code] ?? (sentence || `The server refused: ${code}.`);
  welcome(reason, true, code === 'unmet_authentication_requirements' && h('p', {}, h('a', { href: `${signIn.base}/account` }, 'Open your account')));
}

async function signOut() {
  await signIn.end();
  stop();
  history.replaceState(null, '', `${signIn.base}/console`);
  welcome('You are signed out of the console.', false, h('p', {}, 'This browser is still signed in at the server: ', h('a', { href: `${signIn.base}/logout` }, 'end that too'), '.'));
}

function frame(person, isToRead) {
  show(who, h('div', { class: 'person' },
    h('span', {}, h('strong', {}, person), isToRead && h('span', { class: 'sub' }, 'looks only')),
    button('Sign out', signOut)));
  const links = available().map(([name, title]) => h('li', {}, h('a', { href: `#/${name}`, 'data-view': name }, title)));
  show(nav, h('details', {}, h('summary', {}, 'Views'), h('ul', {}, links)));
  fold();
  nav.hidden = false;
}

// Beside the content where there is room; folded away on a phone.
const isWide = matchMedia('(min-width: 56rem)');
function fold() {
  nav.querySelector('details')?.toggleAttribute('open', isWide.matches);
}

function whenEnded() {
  if (document.querySelector('.ended')) return;
  main.prepend(h('div', { class: 'alert ended', role: 'alert' },
    h('p', {}, 'The sign-in has ended. What you see may be out of date.'),
    button('Sign in again', () => signIn.again())));
}

async function start() {
  if (signIn.obstacle()) return welcome();
  const found = await signIn.resume();
  if (found?.refused) return refused(found.refused);
  if (!found) return signIn.wasSignedIn() ? signIn.again() : welcome();
  await learn();
  onEnd(whenEnded);
  let name = found.person;
  try {
    const { body } = await ask('showUser', { id: found.person });
    name = body.display_name;
  } catch (refusal) {
    // The API has the last word on who is an administrator.
    if (refusal.code === 'access_denied') return refused({ code: 'access_denied' });
  }
  frame(name, !signIn.may('write', 'everything'));
  addEventListener('hashchange', () => route());
  isWide.addEventListener('change', fold);
  return route();
}

start().catch((fault) => {
  welcome(`The console could not begin: ${fault.message}`, true);
  say(fault.message, true);
});
