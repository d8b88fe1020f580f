// The audit trail: who did what, to what, from where. Read page by page, checked, and taken home.

import { all, ask, offered } from '../api.js';
import { h, say, show as place } from '../dom.js';
import { address, at, badge, button, card, code, facts, field, filters, heading, link, listing, progress } from '../parts.js';
import { date } from '../time.js';

const ORDERS = [['', 'newest first'], ['oldest', 'oldest first']];
const EVENTS = [
  'client.created', 'client.updated', 'client.secret_rotated', 'client.revoked', 'client.invited', 'user.created', 'user.updated', 'user.password_reset',
  'user.disabled', 'user.enabled', 'session.ended', 'grant.revoked', 'tokens.revoked', 'node.invited', 'node.invite_withdrawn', 'node.enrolled', 'node.revoked',
  'resource.created', 'resource.updated', 'resource.deleted', 'approval.decided', 'approval.used', 'key.published', 'key.rotated', 'key.removed',
  'key.compromised', 'configuration.reloaded', 'audit.pruned', 'refresh_token_replayed', 'authorization_code_replayed', 'device_code_replayed',
];
const BAD = new Set(['refused', 'denied']);

export async function show({ query, go }) {
  const known = ['event', 'actor', 'target', 'order'];
  const current = Object.fromEntries(known.map((name) => [name, query[name]]));
  const about = ['event', 'actor', 'target'].find((name) => current[name]);
  const bar = filters([
    field('Event', 'event', { options: [['', 'any'], ...EVENTS.map((name) => [name, name])], value: current.event ?? '' }),
    field('Who did it', 'actor', { value: current.actor, placeholder: 'id' }),
    field('To what', 'target', { value: current.target, placeholder: 'id' }),
    field('Order', 'order', { options: ORDERS, value: current.order ?? '' }),
  ], current, (said) => {
    // The API looks for one of them at a time: what was changed counts.
    const changed = ['event', 'actor', 'target'].filter((name) => said[name]);
    const one = changed.find((name) => said[name] !== current[name]) ?? changed[0];
    if (changed.length > 1) say(`Only ${one} is looked for: one at a time.`);
    go(address(['audit'], { [one]: said[one], order: said.order }));
  });
  const work = h('div', { 'aria-live': 'polite' });
  const list = await listing('listAuditEvents', { [about]: current[about], order: current.order }, [
    ['When', (event) => at(event.occurred_at)],
    ['Event', (event) => badge(event.event, BAD.has(event.outcome) ? 'bad' : '')],
    ['What', (event) => [eventRow(event), details(event)]],
    ['From', (event) => event.source ?? 'this machine'],
  ], { none: 'No event is like that.', label: 'Audit events' });
  return [
    heading('Audit trail', 'Every change, and what was refused that matters. Rows are chained by their hashes.',
      offered('verifyAuditLog') && button('Check the chain', () => check(work)),
      button('Take it home', () => takeHome(work, { [about]: current[about] }))),
    bar, work, card(null, list),
  ];
}

// Who did what to what, in a sentence of links.
export function eventRow({ actor_type: type, actor, target_type: kind, target, on_behalf_of: whom, outcome, reason }) {
  return h('span', {}, party(type, actor), whom && [' for ', party('user', whom)], ' · ', thing(kind, target),
    outcome !== 'done' && ` · ${outcome}`, reason && ` (${reason})`);
}

function party(type, id) {
  if (type === 'client' && id) return link(address(['clients', id]), id);
  if (type === 'user' && id) return link(address(['users', id]), id);
  return id ? `${type} ${id}` : type;
}

const PLACES = { client: 'clients', user: 'users', grant: 'consents', node: 'fleet', family: 'tokens', resource: 'resources' };

function thing(kind, id) {
  const view = PLACES[kind];
  return [`${kind} `, view ? link(address([view, id]), id) : code(id)];
}

function details(event) {
  const more = Object.entries(event.details ?? {});
  return h('details', {}, h('summary', {}, 'All of it'), facts([
    ['Number', event.sequence], ['When', date(event.occurred_at)], ['Outcome', event.outcome],
    ...more.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
    ['Hash', code(event.hash)], ['Hash before it', code(event.previous_hash)],
  ]));
}

// Part by part, so that it can be seen how far it is.
async function check(element) {
  const shown = progress('Checking …');
  place(element, shown.element);
  const { body: counts } = await ask('showStatistics').catch(() => ({ body: {} }));
  let [count, first, cursor, part] = [0, undefined, undefined, undefined];
  try {
    do {
      ({ body: part } = await ask('verifyAuditLog', { query: { cursor } }));
      count += part.events;
      first ??= part.first;
      cursor = part.next_cursor;
    } while (shown.tell(`${count} events are as they were written`, counts.audit_events && count / counts.audit_events) && cursor);
    if (shown.isStopped()) return place(element);
    return place(element, h('div', { class: 'notice' }, h('p', {}, `The log is whole: ${count} events, from number ${first} on. Its head is `, code(part.head))));
  } catch (refusal) {
    return place(element, h('p', { class: 'alert' }, refusal.message));
  }
}

async function takeHome(element, query) {
  const shown = progress('Reading events …');
  place(element, shown.element);
  const items = await all('listAuditEvents', { ...query, order: 'oldest' }, (count) => shown.tell(`${count} events so far`));
  if (shown.isStopped()) return place(element);
  const lines = items.map((event) => `${JSON.stringify(event)}\n`);
  const url = URL.createObjectURL(new Blob(lines, { type: 'application/jsonl' }));
  const save = h('a', { class: 'button plain small', href: url, download: 'audit.jsonl', onclick: () => setTimeout(() => URL.revokeObjectURL(url), 60_000) }, 'Save');
  return place(element, h('div', { class: 'notice' }, h('p', {}, `${items.length} events, one to a line. `), save));
}
