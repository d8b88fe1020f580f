// A server and a node of a script's own, over TLS, as an operator sets them up: a private authority, two configuration
// files, two programs. AUTHZ program and node program come from OPERATOR and MCP_NODE.

import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PATIENCE = 30_000;

// A folder with an authority; `issue` makes certificates of it.
export function authority() {
  const folder = mkdtempSync(join(tmpdir(), 'edge-hive-mtls-'));
  const openssl = (...words) => execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  const key = (name) => openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', `${name}.key`);
  const path = (name) => join(folder, name);
  key('ca');
  openssl('req', '-x509', '-new', '-key', 'ca.key', '-subj', '/CN=Interop CA', '-days', '2', '-out', 'ca.pem',
    '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
  function issue(name, subject, usage, alternative) {
    key(name);
    openssl('req', '-new', '-key', `${name}.key`, '-subj', subject, '-out', `${name}.csr`);
    writeFileSync(path(`${name}.ext`), `extendedKeyUsage=${usage}\nsubjectAltName=${alternative}\nbasicConstraints=CA:FALSE\n`);
    openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
      '-extfile', `${name}.ext`, '-out', `${name}.pem`);
    return { certFile: path(`${name}.pem`), keyFile: path(`${name}.key`), cert: readFileSync(path(`${name}.pem`)), key: readFileSync(path(`${name}.key`)) };
  }
  return { folder, caFile: path('ca.pem'), ca: readFileSync(path('ca.pem')), issue };
}

// A free loopback port.
export async function freePort() {
  const [port] = await freePorts(1);
  return port;
}

// Different ones: the system gives one out again as soon as it is free.
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  const all = (action) => Promise.all(servers.map((server) => new Promise((resolve) => {
    action(server, resolve);
  })));
  await all((server, resolve) => server.listen(0, '127.0.0.1', resolve));
  const ports = servers.map((server) => server.address().port);
  await all((server, resolve) => server.close(resolve));
  return ports;
}

// A fetch that trusts `ca` and shows `identity` where it is asked for a certificate.
export function fetchWith(ca, identity) {
  return async (url, init = {}) => {
    const headers = Object.fromEntries(new Headers(init.headers));
    const body = init.body === undefined || init.body === null ? undefined : String(init.body);
    if (body !== undefined) headers['content-length'] = Buffer.byteLength(body);
    const options = { method: init.method ?? 'GET', headers, ca, cert: identity?.cert, key: identity?.key, agent: false };
    const answer = await new Promise((resolve, reject) => {
      const send = new URL(url).protocol === 'http:' ? plainRequest : request;
      const sent = send(url.toString(), options, resolve);
      sent.on('error', reject);
      sent.end(body);
    });
    const chunks = [];
    for await (const chunk of answer) chunks.push(chunk);
    const pairs = Object.entries(answer.headers).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
    const isEmpty = [204, 304].includes(answer.statusCode);
    const response = new Response(isEmpty ? null : Buffer.concat(chunks), { status: answer.statusCode, headers: pairs });
    Object.defineProperty(response, 'url', { value: url.toString() });
    return response;
  };
}

// Starts a program and waits until `ready` answers 200. It ends with this script.
export async function start(program, folder, configuration, ready, ca) {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'program.toml');
  writeFileSync(file, configuration);
  const log = openSync(join(folder, 'program.log'), 'w');
  const child = spawn(program, ['serve', '--config', file], { cwd: folder, stdio: ['ignore', log, log] });
  closeSync(log);
  let ended = false;
  child.on('exit', () => {
    ended = true;
  });
  process.on('exit', () => child.kill());
  const fetch = fetchWith(ca);
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const answer = await fetch(ready).catch(() => undefined);
    if (answer?.status === 200) return { child, config: file };
    if (ended || Date.now() > deadline) {
      throw new Error(`${program} is not ready:\n${readFileSync(join(folder, 'program.log'), 'utf8')}`);
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}
