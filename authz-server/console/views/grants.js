// Consents: what people have allowed to programs, and what has ended.

import { ask } from '../api.js';
import { h, say } from '../dom.js';
import { address, at, badge, button, card, code, confirm, facts, field, filters, heading, link, listing, words } from '../parts.js';
import { userOf } from './people.js';
import { families } from './tokens.js';

export async function show({ id, query, may, again, go }) {
  if (id) return one(id, { may, go });
  const list = await listing('listGrants', { state: query.state, user_id: query.user_id, client_id: query.user_id ? undefined : query.client_id }, [
    ['Consent', (grant) => link(address(['consents', grant.grant_id]), grant.grant_id)],
    ['Person', (grant) => link(address(['users', grant.user_id]), grant.user_id)],
    ['Client', (grant) => link(address(['clients', grant.client_id]), grant.client_id)],
    ['For', (grant) => code(grant.resource)],
    ['State', state],
    ['Since', (grant) => at(grant.created_at)],
    ['', (grant) => may('write') && !grant.revoked_at && button('Revoke', () => revoke(grant, again), { kind: 'danger small', label: `Revoke ${grant.grant_id}` })],
  ], { none: 'Nobody has allowed anything like that.', label: 'Consents' });
  return [
    heading('Consents', 'Standing permissions: this program, for this person, with these scopes, at this resource.'),
    filters([
      field('Person', 'user', { value: query.user_id, hint: 'Username or id.' }),
      field('Client', 'client_id', { value: query.client_id, hint: 'Its id.' }),
      field('State', 'state', { options: [['', 'any'], ['standing', 'standing'], ['ended', 'ended']], value: query.state ?? '' }),
    ], query, async (said) => {
      const user = said.user && (await userOf(said.user));
      go(address(['consents'], { user_id: user, client_id: user ? undefined : said.client_id, state: said.state }));
    }),
    card(null, list),
  ];
}

function state(grant) {
  return grant.revoked_at ? badge('ended', 'bad') : badge('standing', 'good');
}

function revoke(grant, then) {
  confirm('Revoke this consent?', `${grant.client_id} loses what it may do for ${grant.user_id} at ${grant.resource}, and every token that came of it ends now.`, 'Revoke it', async () => {
    // As it is now: whoever reads this list reads what it was.
    const { tag } = await ask('showGrant', { id: grant.grant_id });
    await ask('revokeGrant', { id: grant.grant_id, tag });
    say('The consent is revoked.');
    then();
  });
}

async function one(id, { may, go }) {
  const { body: grant } = await ask('showGrant', { id });
  const list = may('read', 'tokens') && await families({ grant_id: id }, { may, again: () => go(address(['consents', id])) });
  return [
    heading('Consent', id, may('write') && !grant.revoked_at && button('Revoke', () => revoke(grant, () => go('consents')), { kind: 'danger' })),
    card(null, facts([
      ['State', state(grant)],
      ['Person', link(address(['users', grant.user_id]), grant.user_id)],
      ['Client', link(address(['clients', grant.client_id]), grant.client_id)],
      ['For', code(grant.resource)],
      ['Scopes', words(grant.scope)],
      ['Not asked again for', words(grant.remembered_scope)],
      ['Since', at(grant.created_at)],
      ['Changed', at(grant.updated_at)],
      ['Ends', at(grant.expires_at, 'when it is revoked')],
      grant.revoked_at && ['Ended', at(grant.revoked_at)],
    ])),
    list && card('Tokens that came of it', list),
    h('p', {}, link(address(['audit'], { target: id }), 'What happened to it')),
  ];
}
