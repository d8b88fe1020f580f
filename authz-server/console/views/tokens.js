// Tokens that came of a code: refresh tokens, and the access tokens beside them.

import { ask, offered } from '../api.js';
import { h, say } from '../dom.js';
import { address, at, badge, button, card, code, confirm, dialogue, facts, field, filters, form, heading, link, listing, words } from '../parts.js';
import { userOf } from './people.js';

export async function show({ id, query, may, again, go }) {
  if (id) return one(id, { may, go });
  const whose = ['user_id', 'client_id', 'grant_id'].find((name) => query[name]);
  const bar = filters([
    field('Token id', 'token', { hint: 'A jti; it begins with the id that is shown here.' }),
    field('Person', 'user', { value: query.user_id, hint: 'Username or id.' }),
    field('Client', 'client_id', { value: query.client_id, hint: 'Its id.' }),
    field('State', 'state', { options: [['', 'any'], ['standing', 'standing'], ['ended', 'ended']], value: query.state ?? '' }),
  ], query, async (said) => {
    if (said.token) return go(address(['tokens', said.token.split('.')[0]]));
    const user = said.user && (await userOf(said.user));
    return go(address(['tokens'], { user_id: user, client_id: user ? undefined : said.client_id, state: said.state }));
  });
  return [
    heading('Tokens', 'Those of one code are one line. Tokens that programs ask for in their own name are not stored: they end with the client.',
      offered('introspectToken') && button('What is this token?', () => look(may))),
    bar,
    card(null, whose
      ? await families({ [whose]: query[whose], state: query.state }, { may, again })
      : h('p', { class: 'quiet' }, 'Whose? Name a person, a client, or a token.')),
  ];
}

// A list of them, for whoever shows a part of all.
export function families(query, { may, again }) {
  return listing('listTokens', query, [
    ['Tokens', (family) => link(address(['tokens', family.family_id]), family.family_id)],
    ['Person', (family) => link(address(['users', family.user_id]), family.user_id)],
    ['Client', (family) => link(address(['clients', family.client_id]), family.client_id)],
    ['State', state],
    ['Used', (family) => at(family.last_used_at)],
    ['Ends', (family) => at(family.expires_at)],
    ['', (family) => may('write', 'tokens') && !family.revoked_at && button('Revoke', () => revoke(family, again), { kind: 'danger small', label: `Revoke ${family.family_id}` })],
  ], { none: 'There are none.', label: 'Tokens' });
}

function state(family) {
  return family.revoked_at ? badge('ended', 'bad') : badge('standing', 'good');
}

function revoke(family, then) {
  confirm('Revoke these tokens?', 'The refresh token and its access tokens end now. The consent stands: the program may ask for others.', 'Revoke them', async () => {
    const { tag } = await ask('showTokens', { id: family.family_id });
    await ask('revokeTokens', { id: family.family_id, tag });
    say('The tokens are revoked.');
    then();
  });
}

// A token by its value, from a log or a letter: what it is, and an end to it.
function look(may) {
  dialogue('What is this token?', (close) => form([
    field('Token', 'token', { rows: 4, required: true, hint: 'An access token or a refresh token. It is sent to this server and kept nowhere.' }),
  ], 'Look', async ({ token }) => {
    const value = token.trim();
    const { body: found } = await ask('introspectToken', { body: { token: value } });
    close();
    dialogue(found.active ? 'An active token' : 'No active token', (done) => [
      found.active
        ? facts(Object.entries(found).filter(([name]) => name !== 'active').map(([name, said]) => [
          name, ['exp', 'iat'].includes(name) ? at(said) : code(typeof said === 'string' ? said : JSON.stringify(said))]))
        : h('p', {}, 'It is none of this server\'s, has expired, or was revoked.'),
      h('div', { class: 'buttons' },
        found.active && offered('revokeToken') && may('write', 'tokens') && button('Revoke it', async () => {
          await ask('revokeToken', { body: { token: value } });
          done();
          say('The token is revoked.');
        }, { kind: 'danger' }),
        h('button', { type: 'button', class: 'plain', onclick: done }, 'Close')),
    ]);
  }, { cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') }));
}

async function one(id, { may, go }) {
  const { body: family } = await ask('showTokens', { id });
  return [
    heading('Tokens', id, may('write') && !family.revoked_at && button('Revoke', () => revoke(family, () => go(address(['tokens'], { client_id: family.client_id }))), { kind: 'danger' })),
    card(null, facts([
      ['State', [state(family), family.revoked_for && ` ${family.revoked_for}`]],
      ['Person', link(address(['users', family.user_id]), family.user_id)],
      ['Client', link(address(['clients', family.client_id]), family.client_id)],
      ['Consent', link(address(['consents', family.grant_id]), family.grant_id)],
      ['For', code(family.resource)],
      ['Scopes', words(family.scope)],
      ['Made', at(family.created_at)],
      ['Used', at(family.last_used_at)],
      ['Ends', at(family.expires_at)],
      family.revoked_at && ['Ended', at(family.revoked_at)],
    ])),
  ];
}
