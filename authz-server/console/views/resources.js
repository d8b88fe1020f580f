// Resources: what tokens can be for.

import { ask, offered } from '../api.js';
import { h, say } from '../dom.js';
import { address, at, button, card, code, confirm, dialogue, facts, field, form, heading, link, listing, words } from '../parts.js';
import { span } from '../time.js';

const ALGORITHMS = [['EdDSA', 'EdDSA'], ['RS256', 'RS256'], ['ES256', 'ES256']];

export async function show({ id, may, again, go }) {
  if (id) return one(id, { may, again, go });
  const list = await listing('listResources', {}, [
    ['Resource', (resource) => [link(address(['resources', resource.uri]), resource.name), resource.name !== resource.uri && h('span', { class: 'sub' }, resource.uri)]],
    ['Scopes', (resource) => words(resource.scope)],
    ['Signed with', (resource) => resource.alg],
    ['Tokens live', (resource) => span(resource.access_ttl)],
    ['Since', (resource) => at(resource.created_at)],
  ], { none: 'None is registered. A node registers its own when it enrols.', label: 'Resources' });
  return [
    heading('Resources', 'What tokens can be for: nodes of the fleet, and servers of others.',
      may('write') && offered('createResource') && button('New resource', () => create(again), { kind: 'primary' })),
    card(null, list),
  ];
}

const cancel = (close) => ({ cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') });

function common(resource = {}) {
  return [
    field('Name', 'name', { value: resource.name, maxlength: 200 }),
    field('Scopes', 'scope', { value: resource.scope, hint: 'Separated by spaces.' }),
    field('Signed with', 'alg', { options: resource.alg ? ALGORITHMS : [['', 'as configured'], ...ALGORITHMS], value: resource.alg ?? '' }),
    field('Tokens live, in seconds', 'access_ttl', { value: resource.access_ttl, inputmode: 'numeric', pattern: '[0-9]*' }),
  ];
}

function said(form) {
  const body = Object.fromEntries(['uri', 'name', 'scope', 'alg'].filter((name) => form[name]).map((name) => [name, form[name]]));
  if (form.access_ttl) body.access_ttl = Number(form.access_ttl);
  return body;
}

function create(again) {
  dialogue('New resource', (close) => form([
    field('Address', 'uri', { required: true, placeholder: 'https://node.example/mcp', hint: 'What clients use, and what stands in aud, exactly.' }),
    common(),
  ], 'Register it', async (fields) => {
    await ask('createResource', { body: said(fields) });
    say('The resource is registered.');
    close();
    again();
  }, cancel(close)));
}

async function one(id, { may, again, go }) {
  const { body: resource, tag } = await ask('showResource', { id });
  const change = () => dialogue('Change the resource', (close) => form(common(resource), 'Save', async (fields) => {
    await ask('updateResource', { id, tag, body: said(fields) });
    say('The resource is changed.');
    close();
    again();
  }, cancel(close)));
  const forget = () => confirm(`Forget ${resource.name}?`, 'What was granted for it and every token for it end now.', 'Forget it', async () => {
    await ask('deleteResource', { id, tag });
    say('The resource is forgotten.');
    go('resources');
  });
  return [
    heading(resource.name, undefined, may('write') && button('Change', change), may('write') && button('Forget', forget, { kind: 'danger small' })),
    card(null, facts([
      ['Address', code(resource.uri)],
      ['Scopes', words(resource.scope)],
      ['Signed with', resource.alg],
      ['Tokens live', span(resource.access_ttl)],
      ['Introspected by', resource.client_id ? link(address(['clients', resource.client_id]), resource.client_id) : 'nobody'],
      resource.authorization_details_types && ['Details it understands', words(resource.authorization_details_types)],
      ['Since', at(resource.created_at)],
    ])),
    h('p', {}, link(address(['audit'], { target: resource.uri }), 'What happened to it')),
  ];
}
