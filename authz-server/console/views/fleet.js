// The fleet: which nodes are enrolled, invites, and a map.

import { ask, offered } from '../api.js';
import { h, say, svg } from '../dom.js';
import { address, at, badge, button, card, code, confirm, dialogue, facts, field, form, heading, link, listing, secret, tick, words } from '../parts.js';

const STATES = { enrolled: 'good', revoked: 'bad', replaced: '' };
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
    ['Last contact', (node) => at(node.last_seen_at, 'not told')],
  ], { none: 'No node has enrolled. Invite one.', label: 'Nodes' });
  const invites = offered('listInvites') && await listing('listInvites', {}, [
    ['Invite', (invite) => code(invite.invite_id)],
    ['State', (invite) => badge(invite.state, invite.state === 'open' ? 'good' : '')],
    ['For', (invite) => invite.name ?? invite.resource ?? (invite.replaces ? `the place of ${invite.replaces}` : 'any node')],
    ['Ends', (invite) => (invite.used_at ? ['used ', at(invite.used_at)] : at(invite.expires_at))],
    ['', (invite) => may('write') && invite.state === 'open' && button('Withdraw', () => withdraw(invite, again), { kind: 'danger small', label: `Withdraw ${invite.invite_id}` })],
  ], { none: 'No invite waits.', label: 'Invites' });
  return [
    heading('Fleet', 'Nodes validate by themselves and report to nobody: this server knows who is enrolled, and what each is for.',
      may('write') && offered('createInvite') && button('Invite a node', () => invite(again), { kind: 'primary' })),
    body.items.length > 0 && card('Map', map(body.items), isMore && h('p', { class: 'hint' }, `The first ${ON_MAP} of them.`)),
    card('Nodes', list),
    invites && card('Invites', invites),
  ];
}

// This server in the middle and its nodes around it. Lines between nodes are drawn where the API tells who sees whom.
function map(nodes) {
  const [size, middle] = [420, 210];
  const rings = nodes.length > 24 ? 2 : 1;
  const places = new Map(nodes.map((node, index) => {
    const ring = rings === 2 && index % 2 ? 118 : 165;
    const turn = (index / nodes.length) * 2 * Math.PI - Math.PI / 2;
    return [node.node_id, { x: middle + ring * Math.cos(turn), y: middle + ring * Math.sin(turn), turn }];
  }));
  const told = nodes.flatMap((node) => (node.sees ?? []).filter((peer) => places.has(peer)).map((peer) => [node.node_id, peer]));
  const line = (from, to, name) => svg('line', { class: name, x1: from.x, y1: from.y, x2: to.x, y2: to.y });
  const spokes = [...places.values()].map((at) => line({ x: middle, y: middle }, at, 'spoke'));
  const sights = told.map(([from, to]) => line(places.get(from), places.get(to), 'sight'));
  const dots = nodes.map((node) => {
    const { x, y } = places.get(node.node_id);
    const label = nodes.length <= 24 && svg('text', { x, y: y + 24, 'text-anchor': 'middle' }, node.name.length > 18 ? `${node.name.slice(0, 17)}…` : node.name);
    return svg('g', { class: 'node' }, svg('title', {}, `${node.name} serves ${node.resource}`), svg('circle', { cx: x, cy: y, r: nodes.length > 24 ? 5 : 9 }), label);
  });
  const server = svg('g', { class: 'server', transform: `translate(${middle - 26} ${middle - 26}) scale(1.625)` },
    svg('path', { class: 'cell', d: 'M16 2.5 27.7 9.25v13.5L16 29.5 4.3 22.75V9.25z' }), svg('path', { class: 'core', d: 'M16 9.5 21.6 12.75v6.5L16 22.5l-5.6-3.25v-6.5z' }));
  const sentence = told.length > 0 ? 'Lines between nodes: who sees whom.' : 'Who sees whom, each node knows: mcp-node peers list.';
  return h('figure', { class: 'map' },
    svg('svg', { viewBox: `0 0 ${size} ${size}`, 'aria-hidden': 'true', focusable: 'false' }, spokes, sights, dots, server),
    h('figcaption', { class: 'hint' }, `${nodes.length} enrolled ${nodes.length === 1 ? 'node' : 'nodes'} around this server. ${sentence}`));
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
    heading(node.name, undefined, may('write') && node.state === 'enrolled' && button('Cut off', revoke, { kind: 'danger' })),
    card(null, facts([
      ['State', badge(node.state, STATES[node.state])],
      ['Serves', code(node.resource)],
      ['Node id', code(node.node_id)],
      ['Peer id', code(node.peer_id)],
      ['Client', link(address(['clients', node.client_id]), node.client_id)],
      ['Capabilities', words(node.capabilities)],
      ['Version', node.version ?? '–'],
      ['Enrolled', at(node.enrolled_at)],
      ['Last contact', at(node.last_seen_at, 'nodes report to nobody')],
      node.ended_at && ['Ended', at(node.ended_at)],
    ])),
    h('p', {}, link(address(['audit'], { target: node.node_id }), 'What happened to it')),
  ];
}
