// What goes on: rates while somebody looks, and what there is.

import { ask, offered } from '../api.js';
import { h, show as place } from '../dom.js';
import { address, at, badge, card, heading, link } from '../parts.js';
import { bars, lines, tile } from '../plots.js';
import { may } from '../signin.js';
import { ago, now, span } from '../time.js';
import { eventRow } from './audit.js';

const EVERY = 5_000;
// Readings that are kept: half an hour of them.
const MOST = 360;
const TOKEN_ROUTE = /\/oauth\/token$/;

// Kept while the page is open, so that the plots go on where they were.
const readings = [];

export async function show({ onStop, isCurrent }) {
  const live = h('div', { class: 'grid' });
  const tiles = h('dl', { class: 'tiles' });
  const keys = h('div', {});
  const events = h('div', {});
  const told = h('p', { class: 'hint', role: 'status' });
  let timer;
  const look = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const { body } = await ask('showStatistics');
        if (!isCurrent() && live.isConnected) return;
        note(body);
        place(tiles, counts(body));
        place(live, plots(body));
        place(told, body.activity ? `This server began ${ago(body.activity.since)}; rates are those since you look.` : '');
      } catch (refusal) {
        place(told, refusal.message);
        if (refusal.status === 401) return;
      }
    }
    timer = setTimeout(look, EVERY);
  };
  onStop(() => clearTimeout(timer));
  await look();
  await Promise.all([keyAges(keys), newest(events)]);
  return [
    heading('Overview'),
    tiles,
    live,
    told,
    h('div', { class: 'grid' }, keys, events),
  ];
}

function counts(body) {
  const { activity } = body;
  return [
    tile('Clients', body.clients_active, `of ${body.clients} ever`),
    tile('Nodes', activity?.nodes?.living ?? body.nodes, activity?.nodes ? gone(activity.nodes) : 'enrolments'),
    tile('Resources', body.resources),
    tile('People', body.users_active, `of ${body.users} accounts`),
    activity?.sessions !== undefined && tile('Browsers', activity.sessions, 'signed in'),
    tile('Audit events', body.audit_events),
  ];
}

function gone({ revoked = 0, replaced = 0 }) {
  return `${revoked} revoked, ${replaced} replaced`;
}

function note({ activity }) {
  if (!activity) return;
  // Another instance, or one that began anew, counts from nothing again.
  if (readings.length > 0 && readings.at(-1).since !== activity.since) readings.length = 0;
  readings.push({ ...activity, at: activity.now ?? now() });
  if (readings.length > MOST) readings.shift();
}

// What was counted from one reading to the next, by the minute.
function rate(count) {
  const values = [];
  for (let index = 1; index < readings.length; index += 1) {
    const [before, after] = [readings[index - 1], readings[index]];
    const seconds = after.at - before.at;
    if (seconds > 0) values.push([after.at, Math.max(0, ((count(after) - count(before)) / seconds) * 60)]);
  }
  return values;
}

function plots({ activity }) {
  if (!activity) {
    return card('Rates', h('p', { class: 'quiet' }, 'The API of this server tells no rates. The metrics at /metrics do: give them to Prometheus.'));
  }
  const names = (of) => Object.entries(of ?? {}).filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
  const grants = names(activity.tokens_issued).slice(0, 6);
  const issued = grants.map(([grant]) => ({ name: shortGrant(grant), values: rate((reading) => reading.tokens_issued?.[grant] ?? 0) }));
  const latency = [[0.5, 'half of them within'], [0.95, '95 % within']].map(([part, name]) => ({ name, values: quantiles(part) }));
  const refusals = names(activity.refusals).slice(0, 8);
  const clients = names(activity.by_client).slice(0, 8);
  return [
    card(null, lines('Tokens per minute, by grant', issued, { empty: 'No token was asked for since the server began, or you have just come.' })),
    card(null, lines('Time to answer at the token endpoint', latency, { unit: ' ms', empty: 'Nobody has asked for a token since you look.' })),
    card(null, bars('Refusals by reason, since the server began', refusals, { empty: 'Nothing was refused.' })),
    card(null, bars('Clients with most tokens, since the server began', clients, {
      empty: 'No client has got a token.',
      link: (id) => (id === 'other' ? 'all others' : link(address(['clients', id]), id)),
    })),
  ];
}

function shortGrant(grant) {
  return grant.split(':').at(-1);
}

function endpoint(reading) {
  const found = Object.entries(reading.latency ?? {}).find(([route]) => TOKEN_ROUTE.test(route));
  return found?.[1];
}

// Milliseconds within which `part` of the answers between two readings came, as far as the buckets tell.
function quantiles(part) {
  const values = [];
  for (let index = 1; index < readings.length; index += 1) {
    const [before, after] = [endpoint(readings[index - 1]), endpoint(readings[index])];
    if (!after) continue;
    const count = after.count - (before?.count ?? 0);
    if (count <= 0) continue;
    const grown = after.buckets.map(([edge, total], place) => [edge, total - (before?.buckets[place]?.[1] ?? 0)]);
    const found = grown.find(([edge, total]) => edge !== null && total >= part * count) ?? grown.findLast(([edge]) => edge !== null);
    if (found) values.push([readings[index].at, found[0] * 1000]);
  }
  return values;
}

async function keyAges(element) {
  if (!offered('listKeys') || !may('read', 'keys')) return;
  const { body } = await ask('listKeys');
  const current = body.items.filter(({ state }) => state === 'current');
  const all = current.map((key) => {
    const age = now() - (key.signs_from ?? key.created_at);
    return [key.alg, age, span(age)];
  });
  place(element, card(null, bars('Signing keys by age', all, { empty: 'There is no key.' }), h('p', {}, link('keys', 'All keys'))));
}

async function newest(element) {
  if (!offered('listAuditEvents') || !may('read', 'audit')) return;
  const { body } = await ask('listAuditEvents', { query: { limit: 6 } });
  const rows = body.items.map((event) => h('li', {}, h('span', {}, badge(event.event), ' ', eventRow(event)), at(event.occurred_at)));
  place(element, card('What happened last', rows.length > 0 ? h('ul', { class: 'events' }, rows) : h('p', { class: 'quiet' }, 'Nothing yet.'),
    h('p', {}, link('audit', 'The audit trail'))));
}
