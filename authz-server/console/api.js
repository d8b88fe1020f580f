// The admin API. Nothing is done or known here but through it; what it offers is read from its own document.

import { authorized, base, base64url } from './signin.js';

const API = `${base}/admin/v1`;
const encoder = new TextEncoder();

// A refusal (RFC 9457), or no answer at all.
export class Refused extends Error {
  constructor(status, code, sentence) {
    super(sentence);
    this.status = status;
    this.code = code;
  }
}

let ended = () => {};
// What to do when the sign-in has ended.
export function onEnd(action) {
  ended = action;
}

// An id in a path: as it is where it is plain, otherwise ~ and its base64url.
export function pathOf(id) {
  const isPlain = /^[A-Za-z0-9._-]+$/.test(id) && id !== '.' && id !== '..';
  return isPlain ? id : `~${base64url(encoder.encode(id))}`;
}

let offers;
// Reads which operations this server has.
export async function learn() {
  const answer = await fetch(`${base}/admin/openapi.json`);
  if (!answer.ok) throw new Refused(answer.status, 'not_found', 'the API has no document here');
  const { paths } = await answer.json();
  offers = new Map();
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { operationId }] of Object.entries(methods)) {
      if (operationId) offers.set(operationId, { method: method.toUpperCase(), path: path.replace('/admin/v1', '') });
    }
  }
}

export function offered(operation) {
  return offers.has(operation);
}

// Carries out an operation by its name: `{ id, query, body, tag }`. Returns `{ body, tag, status }`.
export async function ask(operation, { id, query = {}, body, tag } = {}) {
  const known = offers.get(operation);
  if (!known) throw new Refused(404, 'not_found', 'this server does not offer that');
  const { method } = known;
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== ''));
  const path = API + known.path.replace('{id}', () => pathOf(id)) + (search.size > 0 ? `?${search}` : '');
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (tag) headers['If-Match'] = tag;
  // Whoever clicks twice, or whose answer was lost on the way, makes one thing.
  if (method === 'POST') headers['Idempotency-Key'] = crypto.randomUUID();
  const request = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  const answer = await sent(path, request);
  const text = await answer.text();
  const said = text ? parsed(text) : undefined;
  if (!answer.ok) throw new Refused(answer.status, said?.code ?? 'server_error', sentence(answer, said));
  return { body: said, tag: answer.headers.get('etag'), status: answer.status };
}

async function sent(path, request) {
  const attempt = async () => {
    const answer = await authorized(path, request);
    if (answer) return answer;
    ended();
    throw new Refused(401, 'invalid_token', 'The sign-in has ended.');
  };
  try {
    return await attempt();
  } catch (fault) {
    if (fault instanceof Refused) throw fault;
    try {
      // The connection was lost: with its Idempotency-Key or If-Match the request may be sent again.
      return await attempt();
    } catch (second) {
      if (second instanceof Refused) throw second;
      throw new Refused(0, 'unreachable', 'The server does not answer.');
    }
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function sentence(answer, said) {
  const wait = answer.headers.get('retry-after');
  if (answer.status === 429) return `Too many requests; try again in ${wait ?? 'some'} seconds.`;
  if (answer.status === 412) return 'Somebody else has changed it meanwhile. It is shown again as it is now.';
  const detail = said?.detail ?? `The server answered ${answer.status}.`;
  return detail.charAt(0).toUpperCase() + detail.slice(1);
}

// Every page of a list; `progress` hears how many there are so far, and stops it by returning false.
export async function all(operation, query, progress = () => true) {
  const items = [];
  let cursor;
  do {
    const { body } = await ask(operation, { query: { ...query, limit: 200, cursor } });
    items.push(...body.items);
    cursor = body.next_cursor;
  } while (progress(items.length) !== false && cursor);
  return items;
}
