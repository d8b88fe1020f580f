// People who can sign in.

import { ask, offered } from '../api.js';
import { h, say } from '../dom.js';
import { address, at, badge, button, card, code, confirm, dialogue, facts, field, filters, form, heading, link, listing, secret, tick, words } from '../parts.js';

export async function show({ id, query, may, again, go }) {
  if (id) return one(id, { may, again });
  const list = await listing('listUsers', { state: query.state, username: query.username }, [
    ['Person', (user) => [link(address(['users', user.user_id]), user.display_name), h('span', { class: 'sub' }, user.username)]],
    ['State', state],
    ['Role', role],
    ['Signs in with', factors],
    ['Since', (user) => at(user.created_at)],
  ], { none: 'Nobody is like that.', label: 'People' });
  return [
    heading('People', 'Accounts of this server.', may('write') && offered('createUser') && button('New account', () => create(again), { kind: 'primary' })),
    filters([
      field('Username', 'username', { value: query.username }),
      field('State', 'state', { options: [['', 'any'], ['active', 'active'], ['disabled', 'disabled']], value: query.state ?? '' }),
    ], query, (said) => go(address(['users'], said))),
    card(null, list),
  ];
}

function state(user) {
  return user.disabled_at ? badge('disabled', 'bad') : badge('active', 'good');
}

function role(user) {
  return user.is_admin ? 'administrator' : 'person';
}

function factors(user) {
  return [user.has_password && 'password', user.has_second_factor && 'second factor'].filter(Boolean).join(', ') || 'no password';
}

async function one(id, { may, again }) {
  const { body: user, tag } = await ask('showUser', { id });
  const isOpen = !user.disabled_at;
  const change = (body, sentence) => async () => {
    await ask('updateUser', { id, tag, body });
    say(sentence);
    again();
  };
  const canWrite = may('write');
  const sessions = offered('listSessions') && await listing('listSessions', { user_id: id }, [
    ['Browser', (session) => [session.user_agent || 'unnamed', h('span', { class: 'sub' }, session.session_id)]],
    ['From', (session) => session.address],
    ['Proved by', (session) => words(session.methods)],
    ['Signed in', (session) => at(session.authenticated_at)],
    ['Seen', (session) => at(session.last_seen_at)],
    ['', (session) => canWrite && offered('endSession') && button('Sign out', () => end(session, again), { kind: 'danger small', label: `Sign out ${session.session_id}` })],
  ], { none: 'Signed in nowhere.', label: 'Browsers' });
  return [
    heading(user.display_name, undefined,
      canWrite && button('Change', () => edit(user, tag, again)),
      canWrite && isOpen && button('Reset password', () => reset(user, again)),
      canWrite && (isOpen
        ? button('Close', () => confirm(`Close the account of ${user.display_name}?`, 'Sessions, grants and tokens end now. What has ended stays ended, also if the account is opened again.', 'Close it', change({ is_disabled: true }, 'The account is closed.')), { kind: 'danger small' })
        : button('Open again', change({ is_disabled: false }, 'The account is open again.')))),
    card(null, facts([
      ['State', state(user)],
      ['Username', user.username],
      ['E-mail', user.email ?? '–'],
      ['Role', role(user)],
      ['Signs in with', factors(user)],
      ['Id', code(user.user_id)],
      ['Since', at(user.created_at)],
      user.disabled_at && ['Closed', at(user.disabled_at)],
    ])),
    sessions && card('Browsers in which they are signed in', sessions),
    h('p', { class: 'links' },
      link(address(['consents'], { user_id: id }), 'What they have allowed'),
      link(address(['tokens'], { user_id: id }), 'Tokens'),
      link(address(['audit'], { actor: id }), 'What they did'),
      link(address(['audit'], { target: id }), 'What was done to the account')),
  ];
}

async function end({ session_id: id }, again) {
  const { tag } = await ask('showSession', { id });
  await ask('endSession', { id, tag });
  say('That browser is signed out.');
  again();
}

const cancel = (close) => ({ cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') });
const ROLE = 'An administrator may do everything here. It takes the scope admin:write to say so.';

function create(again) {
  dialogue('New account', (close) => form([
    field('Username', 'username', { required: true, maxlength: 100, hint: 'What the person types to sign in.' }),
    field('Name', 'display_name', { maxlength: 200 }),
    field('E-mail', 'email', { inputmode: 'email' }),
    tick('Administrator', 'is_admin', false, ROLE),
  ], 'Make the account', async (said) => {
    const body = { username: said.username, is_admin: said.is_admin === 'on' };
    if (said.display_name) body.display_name = said.display_name;
    if (said.email) body.email = said.email;
    const { body: user } = await ask('createUser', { body });
    close();
    linked(user, again);
  }, cancel(close)));
}

function edit(user, tag, again) {
  dialogue('Change the account', (close) => form([
    field('Name', 'display_name', { value: user.display_name, required: true, maxlength: 200 }),
    field('E-mail', 'email', { value: user.email, inputmode: 'email' }),
    tick('Administrator', 'is_admin', user.is_admin, ROLE),
  ], 'Save', async (said) => {
    const body = { display_name: said.display_name, email: said.email || null };
    if ((said.is_admin === 'on') !== user.is_admin) body.is_admin = said.is_admin === 'on';
    await ask('updateUser', { id: user.user_id, tag, body });
    say('The account is changed.');
    close();
    again();
  }, cancel(close)));
}

function reset(user, again) {
  dialogue('Reset the password', (close) => form([
    h('p', {}, `${user.display_name} is signed out everywhere, everything they have granted ends, and a link lets them set another password.`),
    tick('Passkeys and second factor too', 'reset_factors', false, 'For somebody who has lost them, or whose account somebody else has had.'),
  ], 'Reset it', async (said) => {
    const { body } = await ask('resetPassword', { id: user.user_id, body: { reset_factors: said.reset_factors === 'on' } });
    close();
    linked(body, again);
  }, cancel(close)));
}

function linked(user, again) {
  dialogue('The link', (close) => [
    h('p', {}, `By this link ${user.display_name} sets a password, once. It is shown now and never again, and ends `, at(user.link_expires_at), '.'),
    secret('the link', user.set_password_link),
    h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'primary', onclick: () => { close(); again(); } }, 'I have it')),
  ]);
}
