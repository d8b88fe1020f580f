// Clients: programs that may ask for tokens.

import { ask, offered } from '../api.js';
import { h, say } from '../dom.js';
import { address, at, badge, button, card, code, confirm, dialogue, facts, field, filters, form, heading, link, listing, secret, tick, words } from '../parts.js';

const ORIGINS = { operator: 'made here', registration: 'registered itself', document: 'publishes what it is' };
// The client of this very page: the server refuses to change it.
const OWN = 'edge-hive-console';

export async function show({ id, query, may, again, go }) {
  if (id) return one(id, { may, again, go });
  const current = { state: query.state, origin: query.name ? undefined : query.origin, name: query.name };
  const list = await listing('listClients', current, [
    ['Client', (client) => [link(address(['clients', client.client_id]), client.client_name || client.client_id), h('span', { class: 'sub' }, client.client_id)]],
    ['State', state],
    ['Kind', (client) => client.client_type],
    ['Came', (client) => ORIGINS[client.origin] ?? client.origin],
    ['Made', (client) => at(client.client_id_issued_at)],
    ['Used', (client) => at(client.last_used_at, 'never')],
  ], { none: 'No client is like that.', label: 'Clients' });
  return [
    heading('Clients', 'Programs that may ask this server for tokens.',
      may('write') && offered('createClient') && h('a', { class: 'button primary', href: '#/clients/new' }, 'New client')),
    filters([
      field('Name', 'name', { value: query.name, hint: 'The whole of it.' }),
      field('State', 'state', { options: [['', 'any'], ['active', 'active'], ['revoked', 'revoked']], value: query.state ?? '' }),
      field('Came', 'origin', { options: [['', 'any'], ...Object.entries(ORIGINS)], value: current.origin ?? '' }),
    ], query, (said) => go(address(['clients'], said.name ? { name: said.name, state: said.state } : said))),
    card(null, list),
    offered('listClientInvites') && card('Invites to register', await invites({ may, again }),
      may('write') && h('div', { class: 'buttons' }, button('Invite', () => invite(again)))),
  ];
}

// Tokens with which programs register themselves (RFC 7591 §3), where that takes an invite.
function invites({ may, again }) {
  return listing('listClientInvites', {}, [
    ['Invite', ({ name }) => code(name)],
    ['State', ({ state: word }) => badge(word, word === 'open' ? 'good' : '')],
    ['Clients left', ({ uses_left: left }) => left],
    ['Without people', ({ may_act_alone: alone }) => (alone ? 'yes' : 'no')],
    ['Ends', ({ expires_at: end }) => at(end)],
    ['', ({ name, state: word }) => may('write') && word === 'open' && button('End', () => end(name, again), { kind: 'danger small', label: `End ${name}` })],
  ], { none: 'There is none.', label: 'Invites to register' });
}

function invite(again) {
  dialogue('Invite a program to register', (close) => form([
    field('Called', 'name', { maxlength: 100, hint: 'Made up unless you say it.' }),
    field('For how many clients', 'uses', { value: '1', inputmode: 'numeric', pattern: '[0-9]+' }),
    field('Good for', 'ttl', { options: [['1h', '1 hour'], ['1d', '1 day'], ['7d', '7 days'], ['30d', '30 days']], value: '1d' }),
    tick('They may have tokens without a person', 'may_act_alone'),
  ], 'Make the invite', async (said) => {
    const body = { uses: Number(said.uses), ttl: said.ttl, may_act_alone: said.may_act_alone === 'on' };
    if (said.name) body.name = said.name;
    const { body: made } = await ask('createClientInvite', { body });
    close();
    dialogue('The invite', (done) => [
      h('p', {}, 'This token is what the program registers with. It is shown now and never again.'),
      secret('the token', made.initial_access_token),
      h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'primary', onclick: () => { done(); again(); } }, 'I have it')),
    ]);
  }, { cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') }));
}

async function end(name, again) {
  const { tag } = await ask('showClientInvite', { id: name });
  await ask('revokeClientInvite', { id: name, tag });
  say('The invite has ended; the clients that it registered stay.');
  again();
}

function state(client) {
  return client.revoked_at ? badge('revoked', 'bad') : badge('active', 'good');
}

async function one(id, { may, again, go }) {
  const { body: client, tag } = await ask('showClient', { id });
  const isLiving = !client.revoked_at;
  const canWrite = may('write') && isLiving && id !== OWN;
  const hasSecret = client.token_endpoint_auth_methods_supported.some((method) => method.startsWith('client_secret'));
  const more = Object.keys(client).filter((name) => !SHOWN.has(name));
  return [
    heading(client.client_name || id, undefined,
      canWrite && button('Change', () => change(client, tag, again)),
      canWrite && hasSecret && button('New secret', () => renew(client, again)),
      canWrite && button('Revoke', () => revoke(client, tag, go), { kind: 'danger small' })),
    id === OWN && h('p', { class: 'hint' }, 'The console itself. It is part of the server: admin.console turns it off.'),
    card(null, facts([
      ['State', [state(client), client.revoked_at && [' ', at(client.revoked_at)]]],
      ['Client id', code(client.client_id)],
      ['Kind', client.client_type],
      ['Came', ORIGINS[client.origin] ?? client.origin],
      ['Proves who it is by', words(client.token_endpoint_auth_methods_supported)],
      ['Grants', words(client.grant_types)],
      ['Scopes', words(client.scope)],
      ['Resources', client.resources.length > 0 ? words(client.resources) : 'any'],
      client.redirect_uris && ['Redirect URIs', words(client.redirect_uris)],
      client.client_secrets_expire_at && ['Secrets', client.client_secrets_expire_at.map((end, place) => h('span', { class: 'sub' }, `secret ${place + 1}: `, end ? ['ends ', at(end)] : 'does not end'))],
      ['Made', at(client.client_id_issued_at)],
      ['Used', at(client.last_used_at, 'never')],
      client.expires_at && ['Forgotten', at(client.expires_at)],
      // Whatever else it has said of itself: addresses too are text here.
      ...more.map((name) => [name, code(typeof client[name] === 'string' ? client[name] : JSON.stringify(client[name]))]),
    ])),
    h('p', { class: 'links' },
      link(address(['consents'], { client_id: id }), 'What people have allowed it'),
      link(address(['tokens'], { client_id: id }), 'Its tokens'),
      link(address(['audit'], { target: id }), 'What was done to it'),
      link(address(['audit'], { actor: id }), 'What it did')),
  ];
}

const SHOWN = new Set(['client_id', 'client_secret', 'client_name', 'client_type', 'token_endpoint_auth_methods_supported', 'grant_types', 'scope',
  'resources', 'redirect_uris', 'origin', 'client_id_issued_at', 'last_used_at', 'expires_at', 'revoked_at', 'client_secrets_expire_at']);

function change(client, tag, again) {
  dialogue('Change the client', (close) => form([
    field('Name', 'client_name', { value: client.client_name, required: true, maxlength: 200 }),
    field('Scopes', 'scope', { value: client.scope, hint: 'What it may ask for at most, separated by spaces.' }),
    client.redirect_uris && field('Redirect URIs', 'redirect_uris', { value: client.redirect_uris.join('\n'), rows: 3, hint: 'One to a line.' }),
    field('Resources', 'resources', { value: client.resources.join('\n'), rows: 3, hint: 'One to a line; none: any.' }),
  ], 'Save', async (said) => {
    const body = { client_name: said.client_name, scope: said.scope, resources: lines(said.resources) };
    if (client.redirect_uris) body.redirect_uris = lines(said.redirect_uris);
    try {
      await ask('updateClient', { id: client.client_id, tag, body });
    } catch (refusal) {
      if (refusal.status !== 412) throw refusal;
      say(refusal.message, true);
      close();
      again();
      return;
    }
    say('The client is changed.');
    close();
    again();
  }, { cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') }));
}

export function lines(text) {
  return (text ?? '').split('\n').map((line) => line.trim()).filter(Boolean);
}

function renew(client, again) {
  dialogue('A new secret', (close) => form([
    h('p', { class: 'hint' }, 'The old secret goes on working for a while, so that the program can be given the new one.'),
    field('The old one ends', 'overlap', { options: [['1h', 'in an hour'], ['10m', 'in ten minutes'], ['1d', 'in a day'], ['7d', 'in a week'], ['0s', 'now']], value: '1h' }),
  ], 'Make it', async ({ overlap }) => {
    const { body } = await ask('rotateClientSecret', { id: client.client_id, body: { overlap } });
    close();
    dialogue('The new secret', (done) => [
      h('p', {}, 'It is shown now and never again.'),
      secret('the secret', body.client_secret),
      h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'primary', onclick: () => { done(); again(); } }, 'I have it')),
    ]);
  }, { cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') }));
}

function revoke(client, tag, go) {
  confirm(`Revoke ${client.client_name || client.client_id}?`, 'Every token that it has ends now, and it gets no other. This cannot be undone.', 'Revoke it', async () => {
    await ask('revokeClient', { id: client.client_id, tag });
    say('The client is revoked.');
    go('clients');
  });
}
