// One corpus of tokens, judged by the node (`mcp-node token explain`) and by jose: nothing that jose refuses may be taken by
// the node. Where the node is stricter, that is counted.

import { execFile } from 'node:child_process';
import { constants, createHmac, sign } from 'node:crypto';

import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';

import { assert, start, step, temporary } from './steps.mjs';

start();
const { MCP_NODE } = process.env;
const [ISSUER, AUDIENCE] = ['https://as.example', 'https://node.example/mcp'];
const NOW = Math.floor(Date.now() / 1000);
const ALGORITHMS = ['EdDSA', 'ES256', 'ES384', 'RS256', 'RS512', 'PS256', 'PS384'];

const keys = new Map();
for (const alg of ALGORITHMS) {
  const pair = await generateKeyPair(alg, { extractable: true });
  keys.set(alg, { ...pair, jwk: { ...(await exportJWK(pair.publicKey)), kid: `k-${alg}`, alg, use: 'sig' } });
}
const set = { keys: [...keys.values()].map((key) => key.jwk) };
const jwks = temporary('jwks.json', set);
const local = createLocalJWKSet(set);

const encode = (text) => Buffer.from(text).toString('base64url');
const claims = (more = {}) => ({
  iss: ISSUER, aud: AUDIENCE, sub: 'ada', client_id: 'agent', jti: 'j', iat: NOW, exp: NOW + 600, scope: 'mcp:read', ...more,
});
const header = (alg, more = {}) => ({ typ: 'at+jwt', alg, kid: `k-${alg}`, ...more });

function signature(alg, input, key = keys.get(alg).privateKey) {
  const options = { key };
  if (alg.startsWith('ES')) options.dsaEncoding = 'ieee-p1363';
  if (alg.startsWith('PS')) {
    Object.assign(options, { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST });
  }
  return sign(alg === 'EdDSA' ? null : `sha${alg.slice(2)}`, Buffer.from(input), options);
}

// Header and claims as texts, so that they can be anything.
function token(alg, head, body, made = (input) => signature(alg, input)) {
  const input = `${encode(head)}.${encode(body)}`;
  return `${input}.${made(input).toString('base64url')}`;
}

function variants(alg) {
  const good = (head = {}, body = {}) => token(alg, JSON.stringify(header(alg, head)), JSON.stringify(claims(body)));
  const [first, second, third] = good().split('.');
  const text = JSON.stringify(claims());
  const other = ALGORITHMS[(ALGORITHMS.indexOf(alg) + 1) % ALGORITHMS.length];
  const flipped = Buffer.from(third, 'base64url');
  flipped[3] ^= 1;
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const loose = third.slice(0, -1) + last[(last.indexOf(third.at(-1)) + 1) % 64];
  return {
    good: good(),
    'good, audience as a list': good({}, { aud: [AUDIENCE] }),
    'a little late': good({}, { exp: NOW - 30 }),
    'expired': good({}, { exp: NOW - 90 }),
    'expires never': good({}, { exp: undefined }),
    'exp is a text': good({}, { exp: String(NOW + 600) }),
    'exp is huge': token(alg, JSON.stringify(header(alg)), text.replace(String(NOW + 600), '1e30')),
    'exp is a fraction': good({}, { exp: NOW + 600.5 }),
    'not yet': good({}, { nbf: NOW + 90 }),
    'nbf is a text': good({}, { nbf: 'soon' }),
    'issued later': good({}, { iat: NOW + 90 }),
    'no iat': good({}, { iat: undefined }),
    'another issuer': good({}, { iss: `${ISSUER}/` }),
    'no issuer': good({}, { iss: undefined }),
    'issuer is a list': good({}, { iss: [ISSUER] }),
    'another audience': good({}, { aud: `${AUDIENCE}/` }),
    'two audiences': good({}, { aud: [AUDIENCE, 'https://other.example'] }),
    'no audience': good({}, { aud: undefined }),
    'audience is an object': good({}, { aud: { [AUDIENCE]: true } }),
    'no subject': good({}, { sub: undefined }),
    'another type': good({ typ: 'JWT' }),
    'the whole media type': good({ typ: 'application/at+jwt' }),
    'no type': good({ typ: undefined }),
    'no kid': good({ kid: undefined }),
    'unknown kid': good({ kid: 'other' }),
    'kid of another key': good({ kid: `k-${other}` }),
    'alg of another key': token(alg, JSON.stringify(header(alg, { alg: other })), text),
    'alg none': token(alg, JSON.stringify(header(alg, { alg: 'none' })), text, () => Buffer.alloc(0)),
    'alg HS256 with the public key': token(alg, JSON.stringify(header(alg, { alg: 'HS256' })), text, (input) =>
      createHmac('sha256', JSON.stringify(keys.get(alg).jwk)).update(input).digest()),
    'alg in small letters': token(alg, JSON.stringify(header(alg, { alg: alg.toLowerCase() })), text),
    'crit': good({ crit: ['exp'], exp: NOW }),
    'crit, empty': good({ crit: [] }),
    'b64': good({ b64: false, crit: ['b64'] }),
    'a key in the header': good({ jwk: keys.get(other).jwk }),
    'jku': good({ jku: 'https://evil.example/jwks' }),
    'another key': token(alg, JSON.stringify(header(alg)), text, (input) => signature(other, input)),
    'a flipped bit': `${first}.${second}.${flipped.toString('base64url')}`,
    'no signature': `${first}.${second}.`,
    'two parts': `${first}.${second}`,
    'four parts': `${first}.${second}.${third}.`,
    'signature cut': `${first}.${second}.${third.slice(0, -4)}`,
    'signature padded': `${first}.${second}.${third}=`,
    'unused bits set': `${first}.${second}.${loose}`,
    'plain base64': `${first}.${second}.${Buffer.from(third, 'base64url').toString('base64')}`,
    'a space': `${first}.${second}.${third.slice(0, 5)} ${third.slice(5)}`,
    'other claims': `${first}.${encode(JSON.stringify(claims({ sub: 'eve' })))}.${third}`,
    'claims are a list': token(alg, JSON.stringify(header(alg)), '[]'),
    'claims are nothing': token(alg, JSON.stringify(header(alg)), ''),
    'header is a list': token(alg, '[]', text),
    'a member twice': token(alg, JSON.stringify(header(alg)), `{"sub":"eve",${text.slice(1)}`),
    'alg twice': token(alg, `{"alg":"none",${JSON.stringify(header(alg)).slice(1)}`, text),
    'behind the end': token(alg, JSON.stringify(header(alg)), `${text} x`),
    'a mark at the beginning': token(alg, JSON.stringify(header(alg)), `\ufeff${text}`),
  };
}

function node(one) {
  return new Promise((resolve, reject) => {
    const words = ['token', 'explain', '--json', '--issuer', ISSUER, '--audience', AUDIENCE, '--jwks', jwks];
    const child = execFile(MCP_NODE, words, { encoding: 'utf8' }, (error, out) => {
      try {
        resolve(JSON.parse(out).accepted === true);
      } catch {
        reject(error ?? new Error(out));
      }
    });
    child.stdin.on('error', () => {});
    child.stdin.end(one);
  });
}

async function jose(one) {
  try {
    await jwtVerify(one, local, {
      issuer: ISSUER, audience: AUDIENCE, typ: 'at+jwt', algorithms: ALGORITHMS, clockTolerance: 60,
      requiredClaims: ['exp', 'iat', 'sub', 'client_id', 'jti'],
    });
    return true;
  } catch {
    return false;
  }
}

await step('what jose refuses, the node refuses', async () => {
  const [looser, stricter] = [[], new Set()];
  let both = 0;
  for (const alg of ALGORITHMS) {
    for (const [name, one] of Object.entries(variants(alg))) {
      const [ours, theirs] = await Promise.all([node(one), jose(one)]);
      if (ours && theirs) both += 1;
      if (ours && !theirs) looser.push(`${alg}: ${name}`);
      if (!ours && theirs) stricter.add(name);
    }
  }
  assert.deepEqual(looser, []);
  assert.ok(both >= 3 * ALGORITHMS.length, `only ${both} were taken by both`);
  return { told: `${both} taken by both; stricter here: ${[...stricter].sort().join(', ')}` };
});
