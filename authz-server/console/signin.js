// Signing in: an authorization code with PKCE (OAuth 2.1 §4.1), for this page's own client. Tokens are kept in the memory
// of this page and nowhere else. They are bound to a key that cannot be taken out of the browser (RFC 9449).

import { noteClock, now } from './time.js';

const CLIENT_ID = 'edge-hive-console';
const KEEP = 'edge-hive-console';
const WRITE = 'openid admin:read admin:write';
const READ = 'openid admin:read';
// Seconds before its end at which a token is renewed.
const EARLY = 60;

// Below which everything of the server is: '' usually.
export const base = location.pathname.replace(/\/console\/?$/, '');
const here = `${location.origin}${base}/console`;

let tokens;
let key;
let nonce;
let renewing;

const encoder = new TextEncoder();

export function base64url(bytes) {
  const text = String.fromCharCode(...new Uint8Array(bytes));
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function random(bytes) {
  return base64url(crypto.getRandomValues(new Uint8Array(bytes)));
}

async function hash(text) {
  return base64url(await crypto.subtle.digest('SHA-256', encoder.encode(text)));
}

// Why nobody can sign in in this browser, or nothing.
export function obstacle() {
  if (globalThis.crypto?.subtle) return undefined;
  return 'This address is neither https nor this machine, so the browser offers no cryptography.';
}

// What the server says of the API: its name as a resource, and the issuer.
let described;
async function description() {
  if (!described) {
    const answer = await fetch(`/.well-known/oauth-protected-resource${base}/admin/v1`);
    if (!answer.ok) throw new Error(`the server does not describe its API (${answer.status})`);
    noteClock(answer);
    described = await answer.json();
  }
  return described;
}

// The issuer, for who is told where tokens come from. Known once somebody has signed in.
export function issuer() {
  return described.authorization_servers[0];
}

// Sends the browser to sign in. It comes back to the view it was at.
export async function begin({ isToRead = false, prompt, view = location.hash } = {}) {
  const { resource } = await description();
  const [verifier, state, once] = [random(32), random(16), random(16)];
  sessionStorage.setItem(KEEP, JSON.stringify({ verifier, state, once, view, isToRead }));
  const query = new URLSearchParams({
    response_type: 'code', client_id: CLIENT_ID, redirect_uri: here, resource, scope: isToRead ? READ : WRITE, state,
    nonce: once, code_challenge: await hash(verifier), code_challenge_method: 'S256',
  });
  if (prompt) query.set('prompt', prompt);
  location.assign(`${base}/oauth/authorize?${query}`);
  return new Promise(() => {});
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEEP)) ?? {};
  } catch {
    return {};
  }
}

// Whether this tab was signed in before it was loaded anew: then it signs in again by itself.
export function wasSignedIn() {
  return kept().isIn === true;
}

export function again() {
  return begin({ isToRead: kept().isToRead });
}

// Takes up the answer in the address, if there is one. Returns `undefined`, `{ refused }`, or `{ person, scope }`.
export async function resume() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has('code') && !answer.has('error')) return undefined;
  const asked = kept();
  // Neither the code nor the state stays in the address, or is used twice.
  sessionStorage.removeItem(KEEP);
  history.replaceState(null, '', `${base}/console${asked.view ?? ''}`);
  if (!asked.state || answer.get('state') !== asked.state) return undefined;
  await description();
  // RFC 9207 §2.4.
  if (answer.get('iss') !== issuer()) return { refused: { code: 'invalid_request', sentence: 'the answer is not this server\'s' } };
  if (answer.has('error')) {
    return { refused: { code: answer.get('error'), sentence: answer.get('error_description') ?? '' } };
  }
  key = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
  const granted = await token({
    grant_type: 'authorization_code', code: answer.get('code'), redirect_uri: here, code_verifier: asked.verifier,
  });
  if (!granted.ok) return { refused: { code: granted.body.error, sentence: granted.body.error_description } };
  const claims = JSON.parse(atob(granted.body.id_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
  // OpenID Connect Core §3.1.3.7; what came from the token endpoint of this very server needs no check of its signature.
  if (claims.nonce !== asked.once || claims.aud !== CLIENT_ID) {
    return { refused: { code: 'invalid_request', sentence: 'the ID token is for somebody else' } };
  }
  keep(granted.body);
  sessionStorage.setItem(KEEP, JSON.stringify({ isIn: true, isToRead: asked.isToRead }));
  return { person: claims.sub, scope: tokens.scope };
}

function keep(body) {
  tokens = {
    access: body.access_token,
    refresh: body.refresh_token ?? tokens?.refresh,
    scope: new Set((body.scope ?? '').split(' ')),
    renewAt: now() + body.expires_in - EARLY,
  };
}

// A proof that this page has the key (RFC 9449 §4.2).
async function proof(method, url, access) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', key.publicKey);
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } };
  const claims = { jti: random(16), htm: method, htu: url, iat: now() };
  if (access) claims.ath = await hash(access);
  if (nonce) claims.nonce = nonce;
  const part = (object) => base64url(encoder.encode(JSON.stringify(object)));
  const signed = `${part(header)}.${part(claims)}`;
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key.privateKey, encoder.encode(signed));
  return `${signed}.${base64url(signature)}`;
}

// One request with a proof; once more if the server wants its nonce in it (RFC 9449 §8).
async function prove(path, { method, headers = {}, body }, access) {
  const url = new URL(path, location.origin);
  const target = `${url.origin}${url.pathname}`;
  const send = async () => {
    const answer = await fetch(url, { method, body, headers: { ...headers, DPoP: await proof(method, target, access) } });
    noteClock(answer);
    const offered = answer.headers.get('dpop-nonce');
    const isNew = offered && offered !== nonce;
    nonce = offered ?? nonce;
    return [answer, isNew];
  };
  const [answer, isNew] = await send();
  if (!isNew || ![400, 401].includes(answer.status)) return answer;
  const text = `${answer.headers.get('www-authenticate')} ${await answer.clone().text()}`;
  return text.includes('use_dpop_nonce') ? (await send())[0] : answer;
}

async function token(fields) {
  const body = new URLSearchParams({ client_id: CLIENT_ID, ...fields });
  const answer = await prove(`${base}/oauth/token`, { method: 'POST', body });
  return { ok: answer.ok, status: answer.status, body: await answer.json().catch(() => ({})) };
}

// Renews the tokens once, however many requests wait for it. False when the sign-in has ended.
async function renew() {
  renewing ??= (async () => {
    try {
      const { resource } = await description();
      const granted = await token({ grant_type: 'refresh_token', refresh_token: tokens.refresh, resource });
      if (granted.ok) keep(granted.body);
      // Anything but a refusal says nothing about the sign-in.
      return granted.ok || granted.status >= 429;
    } finally {
      renewing = undefined;
    }
  })();
  return renewing;
}

// A request to the API with the token. `undefined` when the sign-in has ended.
export async function authorized(path, request) {
  if (!tokens) return undefined;
  if (now() >= tokens.renewAt && !(await renew())) return undefined;
  const send = () => prove(path, { ...request, headers: { ...request.headers, Authorization: `DPoP ${tokens.access}` } }, tokens.access);
  const answer = await send();
  if (answer.status !== 401) return answer;
  if (!(await renew())) return undefined;
  const second = await send();
  return second.status === 401 ? undefined : second;
}

// Whether the token lets do that to the noun; the server decides, this only spares people the refusal.
export function may(right, noun) {
  return Boolean(tokens) && (tokens.scope.has(`admin:${right}`) || tokens.scope.has(`admin:${noun}:${right}`));
}

// Ends the tokens (RFC 7009). The browser stays signed in at the server until somebody signs out there.
export async function end() {
  const refresh = tokens?.refresh;
  tokens = undefined;
  sessionStorage.removeItem(KEEP);
  if (!refresh) return;
  const body = new URLSearchParams({ client_id: CLIENT_ID, token: refresh, token_type_hint: 'refresh_token' });
  await fetch(`${base}/oauth/revoke`, { method: 'POST', body }).catch(() => {});
}
