// What the scripts share: where they start from, how they tell a step, and a fetch that tells its requests.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';

export { assert };

// The three things that a script starts from; without one of them it stops with exit code 2.
export function start() {
  const missing = ['NODE_URL', 'CLIENT_ID', 'CLIENT_SECRET'].filter((name) => !process.env[name]);
  if (missing.length > 0) {
    console.error(`missing in the environment: ${missing.join(', ')}`);
    process.exit(2);
  }
  const { NODE_URL, CLIENT_ID, CLIENT_SECRET } = process.env;
  return { nodeUrl: new URL(NODE_URL), clientId: CLIENT_ID, clientSecret: CLIENT_SECRET };
}

// Runs one step and tells its outcome; what it returns is returned. A step that throws ends the script with exit code 1.
export async function step(name, action) {
  try {
    const { told, ...outcome } = (await action()) ?? {};
    console.log(`ok    ${name}${told ? `: ${told}` : ''}`);
    return outcome;
  } catch (error) {
    console.log(`FAIL  ${name}`);
    console.error(error);
    process.exit(1);
  }
}

// A fetch that prints each request with the status of its answer, and keeps the list.
export function tellingFetch() {
  const requests = [];
  const fetchAndTell = async (url, init) => {
    const answer = await fetch(url, init);
    const request = `${init?.method ?? 'GET'} ${url} ${answer.status}`;
    requests.push(request);
    console.log(`        ${request}`);
    return answer;
  };
  return { fetch: fetchAndTell, requests };
}

// A command line of the authorization server, as its operator types it; returns what it prints as JSON. OPERATOR is the
// program, AUTHZ_CONFIG its configuration.
export function operator(...words) {
  const { OPERATOR, AUTHZ_CONFIG } = process.env;
  const text = execFileSync(OPERATOR, [...words, '--config', AUTHZ_CONFIG, '--json'], { encoding: 'utf8' });
  return JSON.parse(text);
}

// A key pair of this run: the private JWK, the handles, and the file of its public set.
export async function keyPair(algorithm) {
  const pair = await generateKeyPair(algorithm, { extractable: true });
  const kid = await calculateJwkThumbprint(await exportJWK(pair.publicKey));
  const name = (jwk) => ({ ...jwk, kid, alg: algorithm });
  const [publicJwk, privateJwk] = [name(await exportJWK(pair.publicKey)), name(await exportJWK(pair.privateKey))];
  return { ...pair, kid, privateJwk, publicJwk, jwksFile: temporary('jwks.json', { keys: [publicJwk] }) };
}

// A file with a JSON document, in a folder of its own.
export function temporary(name, document) {
  const path = join(mkdtempSync(join(tmpdir(), 'edge-hive-interop-')), name);
  writeFileSync(path, JSON.stringify(document));
  return path;
}
