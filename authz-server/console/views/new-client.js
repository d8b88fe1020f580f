// A new client in three steps: what it is, what it may, and how it is used.

import { all, ask } from '../api.js';
import { h, show as place } from '../dom.js';
import { address, facts, field, form, heading, link, secret, snippets, tick } from '../parts.js';
import { ways } from './snippets.js';

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const KINDS = [
  { name: 'service', title: 'A program of its own', sub: 'An agent or a job that acts for nobody: client credentials.', type: 'service', grants: ['client_credentials'], methods: ['client_secret_basic', 'private_key_jwt'] },
  { name: 'web', title: 'A web application', sub: 'People allow it something in their browser; it keeps a secret on its server.', type: 'web', grants: ['authorization_code', 'refresh_token'], methods: ['client_secret_basic', 'private_key_jwt', 'none'], redirects: true },
  { name: 'native', title: 'A desktop or mobile program', sub: 'People allow it something; it runs where no secret can be kept.', type: 'native', grants: ['authorization_code', 'refresh_token'], methods: ['none'], redirects: true },
  { name: 'device', title: 'A device or a terminal', sub: 'It shows a code that a person enters elsewhere.', type: 'native', grants: [DEVICE, 'refresh_token'], methods: ['none', 'client_secret_basic'] },
];
const METHODS = { client_secret_basic: 'A secret', private_key_jwt: 'A key of its own, whose public half is here or at an address', none: 'Nothing: a public client' };
const STEPS = ['What it is', 'What it may', 'How it is used'];

export async function show({ may }) {
  if (!may('write')) return [heading('New client'), h('p', { class: 'alert' }, 'This sign-in may not make clients.')];
  const resources = may('read', 'resources') ? await all('listResources', {}) : [];
  const box = h('div', {});
  kind(box, { resources });
  return [heading('New client'), box];
}

function step(box, number, ...content) {
  const list = h('ol', { class: 'stages' }, STEPS.map((title, index) => h('li', { 'aria-current': index === number ? 'step' : undefined }, title)));
  const title = h('h2', { tabindex: '-1' }, STEPS[number]);
  place(box, list, h('section', { class: 'card' }, title, content));
  if (number > 0) title.focus();
}

function kind(box, state) {
  const group = h('fieldset', { class: 'choice' }, h('legend', {}, 'Kind of program'), KINDS.map(({ name, title, sub }, index) => h('label', {},
    h('input', { type: 'radio', name: 'kind', value: name, checked: name === (state.kind ?? KINDS[0].name), required: index === 0 }),
    h('span', {}, h('strong', {}, title), h('span', { class: 'sub' }, sub)))));
  step(box, 0, form([
    group,
    field('Name', 'client_name', { required: true, maxlength: 200, value: state.client_name, hint: 'What people see when it asks them.' }),
  ], 'Next', async (said) => rights(box, { ...state, ...said })));
}

function rights(box, state) {
  const chosen = KINDS.find(({ name }) => name === state.kind);
  const known = [...new Set(state.resources.flatMap(({ scope }) => scope.split(' ')))].filter(Boolean).sort();
  const usual = new Set(['mcp:read', 'mcp:call']);
  const back = h('button', { type: 'button', class: 'plain', onclick: () => kind(box, state) }, 'Back');
  step(box, 1, form([
    chosen.redirects && field('Redirect URIs', 'redirect_uris', { rows: 2, required: true, placeholder: 'https://app.example/callback', hint: 'One to a line, exactly as it sends them. On 127.0.0.1 any port will do.' }),
    h('fieldset', {}, h('legend', {}, 'Resources'), state.resources.length === 0 && h('p', { class: 'hint' }, 'None is registered yet: it may ask for any.'),
      state.resources.map(({ uri, name }) => tick(name === uri ? uri : name, `resource ${uri}`, false, name === uri ? undefined : uri)),
      state.resources.length > 0 && h('p', { class: 'hint' }, 'None chosen: any of them.')),
    h('fieldset', {}, h('legend', {}, 'Scopes'), known.map((scope) => tick(scope, `scope ${scope}`, usual.has(scope)))),
    field('Other scopes', 'more', { hint: 'Separated by spaces.' }),
    field('It proves who it is by', 'method', { options: chosen.methods.map((name) => [name, METHODS[name]]), value: chosen.methods[0] }),
    chosen.methods.includes('private_key_jwt') && field('Address of its keys', 'jwks_uri', { placeholder: 'https://app.example/jwks.json', hint: 'Only with a key of its own.' }),
  ], 'Make the client', (said) => make(box, chosen, { ...state, ...said }), { cancel: back }));
}

async function make(box, chosen, said) {
  const marked = (word) => Object.keys(said).filter((name) => name.startsWith(`${word} `)).map((name) => name.slice(word.length + 1));
  const scopes = [...marked('scope'), ...said.more.split(/\s+/)].filter(Boolean);
  const body = {
    client_name: said.client_name,
    client_type: chosen.type,
    grant_types: chosen.grants,
    token_endpoint_auth_method: said.method,
    resources: marked('resource'),
  };
  if (scopes.length > 0) body.scope = [...new Set(scopes)].join(' ');
  if (chosen.redirects) body.redirect_uris = said.redirect_uris.split('\n').map((line) => line.trim()).filter(Boolean);
  if (said.method === 'private_key_jwt') body.jwks_uri = said.jwks_uri;
  const { body: client } = await ask('createClient', { body });
  step(box, 2,
    h('p', { class: 'notice' }, `${client.client_name} is there.`),
    facts([
      ['Client id', secret('the client id', client.client_id)],
      client.client_secret && ['Secret', [secret('the secret', client.client_secret), h('p', { class: 'hint' }, 'Shown now and never again.')]],
    ]),
    h('h3', {}, 'To begin with'),
    snippets(ways(client, body.resources[0] ?? said.resources[0]?.uri)),
    h('p', { class: 'links' }, link(address(['clients', client.client_id]), 'Open it'), link('clients', 'All clients')));
}
