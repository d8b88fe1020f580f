// The fleet: which nodes are enrolled and awake, invites, and a map of who sees whom.

import { ask, offered } from '../api.js';
import { h, say, svg } from '../dom.js';
import { address, at, badge, button, card, code, confirm, dialogue, facts, field, form, heading, link, listing, secret, tick, words } from '../parts.js';
import { span } from '../time.js';

const STATES = { enrolled: '', active: 'good', silent: 'bad', revoked: 'bad', replaced: '' };
const STANDING = ['enrolled', 'active', 'silent'];
const ON_MAP = 60;

export async function show({ id, may, again, go }) {
  if (id) return one(id, { may, go });
  const { body } = await ask('listNodes', { query: { state: 'enrolled', limit: ON_MAP } });
  const isMore = Boolean(body.next_cursor);
  const list = await listing('listNodes', {}, [
    ['Node', (node) => [link(address(['fleet', node.node_id]), node.name), h('span', { class: 'sub' }, node.node_id)]],
    ['State', (node) => badge(node.state, STATES[node.state])],
    ['Serves', (node) => code(node.resource)],
    ['Version', (node) => node.version ?? '–'],
    ['Enrolled', (node) => at(node.enrolled_at)],
    ['Last contact', (node) => at(node.last_contact_at, 'none')],
    ['Sees', (node) => (node.sees ? String(node.sees.length) : '–')],
  ], { none: 'No node has enrolled. Invite one.', label: 'Nodes' });
  const invites = offered('listInvites') && await listing('listInvites', {}, [
    ['Invite', (invite) => code(invite.invite_id)],
    ['State', (invite) => badge(invite.state, invite.state === 'open' ? 'good' : '')],
    ['For', (invite) => invite.name ?? invite.resource ?? (invite.replaces ? `the place of ${invite.replaces}` : 'any node')],
    ['Ends', (invite) => (invite.used_at ? ['used ', at(invite.used_at)] : at(invite.expires_at))],
    ['', (invite) => may('write') && invite.state === 'open' && button('Withdraw', () => withdraw(invite, again), { kind: 'danger small', label: `Withdraw ${invite.invite_id}` })],
  ], { none: 'No invite waits.', label: 'Invites' });
  return [
    heading('Fleet', 'Nodes validate by themselves, and tell this server about once a minute how they are. One that reaches only other nodes is silent here.',
      may('write') && offered('createInvite') && button('Invite a node', () => invite(again), { kind: 'primary' })),
    body.items.length > 0 && card('Map', map(body.items), isMore && h('p', { class: 'hint' }, `The first ${ON_MAP} of them.`)),
    card('Nodes', list),
    invites && card('Invites', invites),
  ];
}

// This server in the middle and its nodes around it: a line to each that reports, and between nodes of which one sees the other.
function map(nodes) {
  const [size, middle] = [420, 210];
  const rings = nodes.length > 24 ? 2 : 1;
  const places = new Map(nodes.map((node, index) => {
    const ring = rings === 2 && index % 2 ? 118 : 165;
    const turn = (index / nodes.length) * 2 * Math.PI - Math.PI / 2;
    return [node.node_id, { x: middle + ring * Math.cos(turn), y: middle + ring * Math.sin(turn), turn }];
  }));
  const told = pairs(nodes, places);
  const line = (from, to, name) => svg('line', { class: name, x1: from.x, y1: from.y, x2: to.x, y2: to.y });
  const spokes = nodes.map((node) => line({ x: middle, y: middle }, places.get(node.node_id), node.state === 'active' ? 'spoke' : 'spoke broken'));
  const sights = told.map(([from, to]) => line(places.get(from), places.get(to), 'sight'));
  const dots = nodes.map((node) => {
    const { x, y } = places.get(node.node_id);
    const label = nodes.length <= 24 && svg('text', { x, y: y + 24, 'text-anchor': 'middle' }, node.name.length > 18 ? `${node.name.slice(0, 17)}…` : node.name);
    return svg('g', { class: `node ${node.state}` }, svg('title', {}, `${node.name}, ${node.state}, serves ${node.resource}`), svg('circle', { cx: x, cy: y, r: nodes.length > 24 ? 5 : 9 }), label);
  });
  const server = svg('g', { class: 'server', transform: `translate(${middle - 26} ${middle - 26}) scale(1.625)` },
    svg('path', { class: 'cell', d: 'M16 2.5 27.7 9.25v13.5L16 29.5 4.3 22.75V9.25z' }), svg('path', { class: 'core', d: 'M16 9.5 21.6 12.75v6.5L16 22.5l-5.6-3.25v-6.5z' }));
  const awake = nodes.filter(({ state }) => state === 'active').length;
  const silent = nodes.filter(({ state }) => state === 'silent').length;
  const sentence = [
    `${awake} of ${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'} around this server ${awake === 1 ? 'reports' : 'report'} to it`,
    silent > 0 && `${silent} ${silent === 1 ? 'is' : 'are'} silent`,
    `${told.length} ${told.length === 1 ? 'pair of nodes sees' : 'pairs of nodes see'} each other`,
  ].filter(Boolean).join(', ');
  return h('figure', { class: 'map' },
    svg('svg', { viewBox: `0 0 ${size} ${size}`, 'aria-hidden': 'true', focusable: 'false' }, spokes, sights, dots, server),
    h('figcaption', { class: 'hint' }, `${sentence}.`));
}

// Pairs of nodes on the map of which one or both say that they see the other, each once.
function pairs(nodes, places) {
  const known = new Map();
  for (const { node_id: from, sees = [], state } of nodes) {
    // What a silent node saw is long ago.
    if (state !== 'active') continue;
    for (const to of sees) if (places.has(to) && to !== from) known.set([from, to].sort().join(' '), [from, to]);
  }
  return [...known.values()];
}

function invite(again) {
  dialogue('Invite a node', (close) => form([
    h('p', { class: 'hint' }, 'Makes a code with which one node can enrol. Leave empty what the node is to say itself.'),
    field('Name', 'name', { maxlength: 100 }),
    field('Resource', 'resource', { placeholder: 'https://node.example/mcp', hint: 'The address that it serves. One that is registered already must be named.' }),
    field('In the place of', 'replaces', { hint: 'The id of a node that is cut off then.' }),
    field('Good for', 'ttl', { options: [['10m', '10 minutes'], ['1h', '1 hour'], ['1d', '1 day'], ['7d', '7 days']], value: '1h' }),
    tick('It may invite others', 'may_invite', false, 'Each with the yes of an administrator.'),
  ], 'Make the invite', async (said) => {
    const text = Object.fromEntries(['name', 'resource', 'replaces', 'ttl'].filter((name) => said[name]).map((name) => [name, said[name]]));
    const { body } = await ask('createInvite', { body: { ...text, may_invite: said.may_invite === 'on' } });
    close();
    made(body, again);
  }, { cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') }));
}

function made(invite, again) {
  dialogue('The invite', (close) => [
    h('p', {}, 'The code is shown now and never again. It ends ', at(invite.expires_at), '. Type this where the node is to run:'),
    secret('the command', invite.command),
    h('p', { class: 'hint' }, 'Or the code alone:'),
    secret('the code', invite.invite),
    h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'primary', onclick: () => { close(); again(); } }, 'I have it')),
  ]);
}

async function withdraw({ invite_id: id }, again) {
  const { tag } = await ask('showInvite', { id });
  await ask('withdrawInvite', { id, tag });
  say('The invite is withdrawn.');
  again();
}

async function one(id, { may, go }) {
  const { body: node, tag } = await ask('showNode', { id });
  const revoke = () => confirm(`Cut ${node.name} off?`,
    'Its client, its resource and every token for it end now. It has to be invited and enrolled again to come back.', 'Cut it off', async () => {
      await ask('revokeNode', { id, tag });
      say(`${node.name} is cut off.`);
      go('fleet');
    });
  return [
    heading(node.name, undefined, may('write') && STANDING.includes(node.state) && button('Cut off', revoke, { kind: 'danger' })),
    card(null, facts([
      ['State', badge(node.state, STATES[node.state])],
      ['Serves', code(node.resource)],
      ['Node id', code(node.node_id)],
      ['Peer id', code(node.peer_id)],
      ['Client', link(address(['clients', node.client_id]), node.client_id)],
      ['Capabilities', words(node.capabilities)],
      ['Version', node.version ?? '–'],
      ['Enrolled', at(node.enrolled_at)],
      ['Last contact', node.last_contact_at ? [at(node.last_contact_at), ' from ', code(node.last_contact_from ?? '?')] : at(undefined, 'none yet')],
      node.uptime_seconds !== undefined && ['Was up then for', span(node.uptime_seconds)],
      node.addresses?.length > 0 && ['Reached by nodes at', words(node.addresses)],
      node.calls && ['Calls since its start', Object.entries(node.calls).map(([how, count]) => `${how}: ${count}`).join(', ') || 'none'],
      node.sees && ['Sees', node.sees.length > 0 ? h('ul', { class: 'words' }, node.sees.map((peer) => h('li', {}, link(address(['fleet', peer]), peer)))) : h('span', { class: 'quiet' }, 'no other node')],
      node.ended_at && ['Ended', at(node.ended_at)],
    ])),
    h('p', {}, link(address(['audit'], { target: node.node_id }), 'What happened to it')),
  ];
}
