// What goes on, minute by minute, and what there is.

import { ask, offered } from '../api.js';
import { h, show as place } from '../dom.js';
import { at, badge, card, heading, link } from '../parts.js';
import { bars, lines, tile } from '../plots.js';
import { may } from '../signin.js';
import { now, span } from '../time.js';
import { eventRow } from './audit.js';

const EVERY = 5_000;
const MINUTES = 60;

export async function show({ onStop, isCurrent }) {
  const tiles = h('dl', { class: 'tiles' });
  const live = h('div', { class: 'grid' });
  const keys = h('div', {});
  const events = h('div', {});
  const told = h('p', { class: 'hint', role: 'status' });
  let timer;
  const look = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const [counts, history, latency] = await Promise.all([
          ask('showStatistics'), offered('showHistory') && ask('showHistory', { query: { minutes: MINUTES } }),
          offered('showLatency') && ask('showLatency', { query: { minutes: MINUTES } }),
        ]);
        if (!isCurrent()) return;
        place(tiles, tilesOf(counts.body));
        place(live, history ? plots(history.body.minutes, latency && latency.body) : none());
        await Promise.all([keyAges(keys), newest(events)]);
        place(told);
      } catch (refusal) {
        place(told, refusal.message);
        if (refusal.status === 401) return;
      }
    }
    if (isCurrent()) timer = setTimeout(look, EVERY);
  };
  onStop(() => clearTimeout(timer));
  await look();
  return [heading('Overview'), told, tiles, live, h('div', { class: 'grid' }, keys, events)];
}

function tilesOf(counts) {
  return [
    tile('Clients', counts.clients_active, counts.clients_used_today === undefined ? 'active' : `${counts.clients_used_today} used today`),
    tile('Nodes', counts.nodes, nodesOf(counts)),
    tile('Resources', counts.resources),
    tile('People', counts.users_active, `of ${counts.users} accounts`),
    counts.sessions !== undefined && tile('Browsers', counts.sessions, 'signed in'),
    counts.approvals_waiting !== undefined && tile('Approvals', counts.approvals_waiting, 'waiting'),
    tile('Audit events', counts.audit_events),
  ];
}

function nodesOf({ nodes_active: active, nodes_silent: silent }) {
  if (active === undefined) return 'enrolled';
  return silent > 0 ? `${active} active, ${silent} silent` : `enrolled; ${active} active`;
}

function none() {
  return card('Rates', h('p', { class: 'quiet' }, 'The API of this server tells no rates. The metrics at /metrics do: give them to Prometheus.'));
}

// The API leaves out the minutes in which nothing happened: here they are nought. The last one goes on.
function plots(minutes, latency) {
  const known = new Map(minutes.map((minute) => [minute.minute, minute]));
  const last = Math.floor(now() / 60) * 60;
  const times = Array.from({ length: MINUTES }, (_, index) => last - (MINUTES - 1 - index) * 60);
  const series = (count, name) => ({ name, values: times.map((time) => [time, known.has(time) ? count(known.get(time)) : 0]) });
  const sums = (member) => {
    const all = {};
    for (const minute of minutes) for (const [name, count] of Object.entries(minute[member])) all[name] = (all[name] ?? 0) + count;
    return Object.entries(all).sort(([, a], [, b]) => b - a);
  };
  const most = (member, shorten = (name) => name) => sums(member).slice(0, 6).map(([name]) => series((minute) => minute[member][name] ?? 0, shorten(name)));
  // Where nobody was answered there is no time to answer.
  const average = minutes.filter(({ answers }) => answers > 0).map(({ minute, answers, answer_micros: micros }) => [minute, micros / answers / 1000]);
  const part = (name, member) => ({ name, values: latency.minutes.map((minute) => [minute.minute, minute[member] / 1000]) });
  return [
    card(null, lines('Tokens per minute, by grant', most('issued', shortGrant), { empty: 'No token was issued in the last hour.' })),
    card(null, latency
      ? [lines('Time to answer at this instance', [part('half of the answers, at most', 'p50_micros'), part('99 of 100, at most', 'p99_micros')], { unit: ' ms', empty: 'Fewer than two minutes with answers so far.' }),
        bars('99 of 100 answers took at most, by what was asked', slowest(latency.groups))]
      : lines('Time to answer, on average', [{ name: 'all answers', values: average }], { unit: ' ms', empty: 'Fewer than two minutes with answers so far.' })),
    card(null, lines('Refusals per minute, by reason', most('refused'), { empty: 'Nothing was refused in the last hour.' })),
    card(null, lines('Answers per minute', [series(({ answers }) => answers, 'all endpoints')], { empty: 'Nothing yet.' })),
  ];
}

// Those who ask for status lists wait for news: their time says nothing of the server's.
function slowest(groups) {
  const timed = groups.filter(({ group }) => group !== 'status').sort((a, b) => b.p99_micros - a.p99_micros).slice(0, 6);
  return timed.map(({ group, p99_micros: micros }) => [group, micros, `${+(micros / 1000).toPrecision(3)} ms`]);
}

function shortGrant(grant) {
  return grant.split(':').at(-1);
}

async function keyAges(element) {
  if (!offered('listKeys') || !may('read', 'keys')) return;
  const { body } = await ask('listKeys');
  const current = body.items.filter(({ state }) => state === 'current');
  const all = current.map((key) => {
    const age = Math.max(0, now() - (key.signs_from ?? key.created_at));
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
