// The files of compose/proxies, each as it stands but for ports, names and paths, before a real server and a real node: what
// docs/deploy.md promises of nginx, HAProxy, Caddy and Traefik. PROXIES names the ones to start, which are on the path or in
// PROXY_PATH; those with `-certificates` pass the certificates of clients on.

import { execFileSync, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { Agent, request } from 'node:https';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';

import { decodeJwt } from 'jose';
import * as oauth from 'oauth4webapi';

import { authority, fetchWith, freePorts, start } from './fleet.mjs';
import { assert, step } from './steps.mjs';

const { OPERATOR, MCP_NODE, PATH, PROXY_PATH } = process.env;
const ALL = 'nginx haproxy caddy traefik nginx-certificates haproxy-certificates caddy-certificates';
const wanted = (process.env.PROXIES ?? ALL).split(' ').filter((name) => name !== '');
const PATIENCE = 30_000;
// Where the client sits, and what it claims to be. The proxy and both programs are at 127.0.0.1.
const CLIENT = '127.0.0.2';
const LIE = '203.0.113.9';
const VERSION = '2026-07-28';
const SCOPES = 'mcp:read mcp:call mcp:resources mcp:subscribe';

const pki = authority();
const server = pki.issue('server', '/CN=localhost', 'serverAuth', 'DNS:localhost,DNS:node.localhost,DNS:mtls.localhost');
writeFileSync(join(pki.folder, 'both.pem'), Buffer.concat([server.cert, server.key]));
const [port, plainPort, authzPort, nodePort] = await freePorts(4);
const issuer = new URL(`https://localhost:${port}`);
const resource = new URL(`https://node.localhost:${port}/mcp`);

// How the client reaches the proxy.
const HERE = { host: '127.0.0.1', port, localAddress: CLIENT, ca: pki.ca };
let agent;

// What an operator fills in.
const FILLED_IN = [
  [/https:\/\/mtls\.auth\.example/g, `https://mtls.localhost:${port}`],
  [/\bmtls\.auth\.example\b/g, 'mtls.localhost'],
  [/https:\/\/auth\.example/g, issuer.origin],
  [/https:\/\/node\.example/g, resource.origin],
  [/\bauth\.example\b/g, issuer.hostname],
  [/\bnode\.example\b/g, resource.hostname],
  [/\b443\b/g, port],
  [/\b80\b/g, plainPort],
  [/\b9000\b/g, authzPort],
  [/\b8080\b/g, nodePort],
  [/\/etc\/edge-hive\/tls\/cert\.pem/g, server.certFile],
  [/\/etc\/edge-hive\/tls\/key\.pem/g, server.keyFile],
  [/\/etc\/edge-hive\/tls\/cert-and-key\.pem/g, join(pki.folder, 'both.pem')],
  [/\/var\/lib\/caddy\/admin\.sock/g, join(pki.folder, 'caddy.sock')],
  [/\/etc\/edge-hive\/tls\/client-ca\.pem/g, pki.caFile],
  [/\/var\/log\/nginx\//g, `${pki.folder}/`],
  [/\/etc\/(traefik|haproxy|nginx)\/([a-z-]+\.(yaml|txt|js))/g, `${pki.folder}/$2`],
];

const shipped = (name) => readFileSync(fileURLToPath(new URL(`../../../compose/proxies/${name}`, import.meta.url)), 'utf8');
const filledIn = (name) => FILLED_IN.reduce((text, [from, to]) => text.replace(from, to), shipped(name));
const CERTIFICATES = 'client-certificates';
function written(name, text = filledIn(name)) {
  const path = join(pki.folder, basename(name));
  writeFileSync(path, text);
  return path;
}

// nginx's file is part of another one; its workers write to the folder of whoever runs this. (Of a user other than root it
// says that the line is not for them.)
const nginx = (file, modules = '') => written('outer.conf', `
${modules}
user root;
daemon off;
pid ${pki.folder}/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${pki.folder}/body;
  proxy_temp_path ${pki.folder}/proxy;
  fastcgi_temp_path ${pki.folder}/fastcgi;
  uwsgi_temp_path ${pki.folder}/uwsgi;
  scgi_temp_path ${pki.folder}/scgi;
  include ${written(file)};
}`);
const NJS = 'load_module /usr/lib/nginx/modules/ngx_http_js_module.so;';
const START = {
  nginx: (conf) => ['nginx', '-p', pki.folder, '-e', 'stderr', '-c', conf],
  haproxy: (cfg) => ['haproxy', '-f', cfg],
  caddy: (caddyfile) => ['caddy', 'run', '--adapter', 'caddyfile', '--config', caddyfile],
};
const COMMANDS = {
  nginx: () => START.nginx(nginx('nginx.conf')),
  haproxy: () => START.haproxy(written('haproxy.cfg')),
  caddy: () => START.caddy(written('Caddyfile')),
  traefik: () => {
    written('traefik-routes.yaml');
    return ['traefik', `--configFile=${written('traefik.yaml')}`];
  },
  'nginx-certificates': () => {
    written(`${CERTIFICATES}/client-certificates.js`);
    return START.nginx(nginx(`${CERTIFICATES}/nginx.conf`, NJS));
  },
  'haproxy-certificates': () => {
    written(`${CERTIFICATES}/haproxy-names.txt`);
    return START.haproxy(written(`${CERTIFICATES}/haproxy.cfg`));
  },
  'caddy-certificates': () => START.caddy(written(`${CERTIFICATES}/Caddyfile`)),
};

const authz = await startServer();
let node;
for (const name of wanted) {
  console.log(`\n== ${name}`);
  await behind(name);
}
process.exit(0);

async function behind(name) {
  const proxy = await startProxy(name);
  // Of another proxy no connection is left.
  agent = new Agent({ keepAlive: true });
  await step('it serves, and asks the programs whether they can', async () => {
    const isReady = (base) => until(`${base} is ready`, proxy, async () => {
      const answer = await through(new URL('/readyz', base)).catch(() => undefined);
      return answer?.status === 200;
    });
    await isReady(issuer);
    node ??= await startNode();
    await isReady(resource);
  });
  const options = { [oauth.customFetch]: through };

  const { as } = await step('discovery, over HTTP/1.1 and HTTP/2', async () => {
    const challenge = await through(resource, { method: 'POST' });
    assert.equal(challenge.status, 401);
    const [, metadataUrl] = /resource_metadata="([^"]+)"/.exec(challenge.headers.get('www-authenticate'));
    assert.equal(new URL(metadataUrl).origin, resource.origin);
    const metadata = await oauth.processResourceDiscoveryResponse(resource, await oauth.resourceDiscoveryRequest(resource, options));
    assert.deepEqual(metadata.authorization_servers.map((one) => new URL(one).href), [issuer.href]);
    const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oauth2' }));
    assert.equal((await overHttp2(new URL(metadataUrl))).resource, resource.href);
    assert.equal((await overHttp2(new URL('/.well-known/oauth-authorization-server', issuer))).issuer, as.issuer);
    return { as };
  });

  const client = { client_id: authz.client.client_id };
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
  const { token } = await step('a token, bound to a key by a proof for the https address', async () => {
    const authentication = oauth.ClientSecretBasic(authz.client.client_secret);
    const parameters = { resource: resource.href, scope: SCOPES };
    const answer = await oauth.clientCredentialsGrantRequest(as, client, authentication, parameters, { ...options, DPoP });
    const tokens = await oauth.processClientCredentialsResponse(as, client, answer);
    assert.equal(tokens.token_type, 'dpop');
    return { token: tokens.access_token };
  });
  const ask = (url, method, headers, body) =>
    oauth.protectedResourceRequest(token, method, url, new Headers(headers), body, { ...options, DPoP });
  const call = (tool, args = {}, meta = {}) => ask(resource, 'POST', mcpHeaders(tool), mcpCall(tool, args, meta));

  const { stream } = await step('a stream of events, that says at once how the node is', async () => {
    const answer = await ask(new URL(`${resource}/stream`), 'GET', { Accept: 'text/event-stream' });
    assert.equal(answer.status, 200);
    const stream = events(answer);
    assert.equal((await next(stream)).name, 'status');
    return { stream };
  });

  await step('a tool call: the first event is here before the answer is', async () => {
    // Servers in Go may cut off an answer that begins before they have read the request to its end (golang/go#40747): this one
    // begins two calls later.
    const waits = call('slow_wait', {}, { progressToken: 'p' });
    assert.equal((await call('slow_there')).status, 200);
    assert.equal((await call('slow_tell')).status, 200);
    const said = events(await waits);
    assert.equal((await next(said)).data.method, 'notifications/progress');
    // Only this ends the call.
    assert.equal((await call('slow_go')).status, 200);
    const { data } = await next(said);
    assert.equal(data.result.content[0].text, 'gone');
  });

  await step('both logs have the address of the client, not what it claims to be', async () => {
    const line = await until('the audit log has the call', proxy, () => node.audit.fresh().find(({ tool }) => tool === 'slow_wait'));
    assert.equal(line.address, CLIENT);
    const seen = [];
    await until('the log of the server has the token', proxy, () => {
      seen.push(...authz.log.fresh().filter(({ message }) => message === 'answered'));
      return seen.some((answered) => answered.route === '/oauth/token' && answered.client === CLIENT);
    });
    // The node asks too, from the machine itself.
    assert.deepEqual(seen.filter(({ client }) => ![CLIENT, '127.0.0.1'].includes(client)), []);
  });

  await step('what is too large is refused by the program, what is large is not', async () => {
    const large = await call('slow_go', { text: 'x'.repeat(900_000) });
    assert.equal(large.status, 200, await large.text());
    const tooLarge = await call('slow_go', { text: 'x'.repeat(4_000_000) });
    assert.equal(tooLarge.status, 413);
    assert.match(await tooLarge.text(), /the request body is too large/);
    const form = await through(as.token_endpoint, { method: 'POST', body: new URLSearchParams({ grant_type: 'x'.repeat(4_000_000) }) });
    assert.equal(form.status, 413);
    assert.match(await form.text(), /"error":"invalid_request"/);
  });

  await step('a long query, a resource whose URI stands in the path, and nothing at /metrics', async () => {
    const url = new URL(as.authorization_endpoint);
    url.search = new URLSearchParams({ client_id: client.client_id, request: 'x'.repeat(20_000) });
    const page = await through(url);
    assert.match(await page.text(), /invalid_request|<html/);
    assert.notEqual(page.status, 414);
    const read = await ask(new URL(`${resource}/resources/${encodeURIComponent('edge-hive://status')}`), 'GET', {});
    assert.equal(read.status, 200, await read.text());
    for (const base of [issuer, resource]) assert.equal((await through(new URL('/metrics', base))).status, 404);
  });

  await step('a certificate that a client only writes into a header is nobody', async () => {
    const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: authz.byCertificate.client_id, resource: resource.href });
    const asking = { method: 'POST', headers: { 'Client-Cert': authz.certificate }, body: form };
    assert.equal((await (await through(as.token_endpoint, asking)).json()).error, 'invalid_client');
    // So it would be, had the proxy said it.
    const headers = { ...asking.headers, host: issuer.host, 'content-type': 'application/x-www-form-urlencoded' };
    const believed = await fetchWith()(`http://127.0.0.1:${authzPort}/oauth/token`, { ...asking, headers });
    assert.equal((await believed.json()).token_type, 'Bearer');
  });

  if (name.endsWith('-certificates')) await withCertificate(as);

  await step('http leads to https', async () => {
    const answer = await new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: plainPort, path: '/login?a=b', headers: { host: `localhost:${plainPort}` }, agent: false };
      get(options, resolve).on('error', reject);
    });
    assert.ok([301, 308].includes(answer.statusCode), String(answer.statusCode));
    assert.match(answer.headers.location, /^https:\/\/localhost(:\d+)?\/login\?a=b$/);
  });

  await step('the stream is still open, and tells what happens now', async () => {
    assert.equal((await call('slow_grow')).status, 200);
    while ((await next(stream)).name !== 'tools');
    await stream.return();
  });
  await proxy.stop();
}

// RFC 8705 through a proxy that says which certificate it was shown (RFC 9440).
async function withCertificate(as) {
  const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: authz.byCertificate.client_id, resource: resource.href });
  const { token } = await step('a certificate that a client shows to the proxy is the client, and its token is bound to it', async () => {
    const answer = await through(as.mtls_endpoint_aliases.token_endpoint, { method: 'POST', body: form }, authz.agent);
    const { access_token: token } = await answer.json();
    const thumbprint = new X509Certificate(authz.agent.cert).fingerprint256.replaceAll(':', '');
    assert.equal(decodeJwt(token).cnf['x5t#S256'], Buffer.from(thumbprint, 'hex').toString('base64url'));
    return { token };
  });
  const call = (identity, headers = {}) => through(resource, {
    method: 'POST',
    headers: { ...mcpHeaders('slow_go'), ...headers, Authorization: `Bearer ${token}` },
    body: mcpCall('slow_go', {}, {}),
  }, identity);
  await step('the node takes that token with the certificate only', async () => {
    assert.equal((await call(authz.agent)).status, 200);
    assert.equal((await call()).status, 401);
    assert.equal((await call(authz.stranger)).status, 401);
    assert.equal((await call(undefined, { 'Client-Cert': authz.certificate })).status, 401);
    assert.equal((await call(authz.stranger, { 'Client-Cert': authz.certificate })).status, 401);
  });
  await step('nobody is asked for one where people sign in', async () => {
    const answer = await through(as.token_endpoint, { method: 'POST', body: form }, authz.agent);
    assert.equal((await answer.json()).error, 'invalid_client');
  });
}

async function startProxy(name) {
  const [program, ...words] = COMMANDS[name]();
  const path = join(pki.folder, `${name}.log`);
  const log = openSync(path, 'w');
  const environment = { ...process.env, PATH: `${PATH}:${PROXY_PATH ?? ''}`, HOME: pki.folder, XDG_DATA_HOME: pki.folder, XDG_CONFIG_HOME: pki.folder };
  const child = spawn(program, words, { stdio: ['ignore', log, log], env: environment });
  closeSync(log);
  let isOver = false;
  const ended = new Promise((resolve) => {
    for (const event of ['error', 'exit']) {
      child.on(event, (what) => {
        isOver = true;
        resolve(what);
      });
    }
  });
  process.on('exit', () => child.kill());
  const stop = async () => {
    child.kill();
    // Streams that are open make some of them wait.
    const late = setTimeout(() => child.kill('SIGKILL'), 1000);
    await ended;
    clearTimeout(late);
  };
  return { stop, log: () => readFileSync(path, 'utf8'), isOver: () => isOver };
}

// The authorization server, with the shipped file for certificates, which is the other one and more. It says whom it answers.
async function startServer() {
  for (const [program, name] of [[OPERATOR, 'authz-server.toml'], [MCP_NODE, 'mcp-node.toml']]) {
    execFileSync(program, ['config', 'check', '--config', written(name)], { stdio: ['ignore', 'ignore', 'pipe'] });
  }
  const folder = join(pki.folder, 'authz');
  const file = `${filledIn(`${CERTIFICATES}/authz-server.toml`)}
[log]
filter = "info,web=debug"
[keys]
master_key_file = "${join(folder, 'master.key')}"
[database]
url = "sqlite:${join(folder, 'authz.db')}"
`.replace('[server]\n', `[server]\ndata_dir = "${folder}"\n`);
  const { config } = await start(OPERATOR, folder, file, `http://127.0.0.1:${authzPort}/readyz`);
  const operator = (...words) => JSON.parse(execFileSync(OPERATOR, [...words, '--config', config, '--json'], { encoding: 'utf8' }));
  operator('resource', 'create', '--uri', resource.href);
  const agent = pki.issue('agent', '/CN=agent-7', 'clientAuth', 'DNS:agent-7.example');
  return {
    client: operator('client', 'create', '--name', 'Behind proxies', '--scopes', SCOPES, '--resource', resource.href),
    byCertificate: operator('client', 'create', '--name', 'With a certificate', '--auth-method', 'tls_client_auth',
      '--tls-subject-dn', 'CN=agent-7', '--certificate-bound', '--scopes', SCOPES, '--resource', resource.href),
    agent,
    stranger: selfSigned(),
    certificate: `:${new X509Certificate(agent.cert).raw.toString('base64')}:`,
    log: lines(join(folder, 'program.log')),
  };
}

// A certificate that nobody vouches for: a proxy that judged certificates would not let it in.
function selfSigned() {
  const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'stranger.key',
    '-out', 'stranger.pem', '-subj', '/CN=agent-7', '-days', '2'];
  execFileSync('openssl', words, { cwd: pki.folder, stdio: ['ignore', 'ignore', 'pipe'] });
  const read = (name) => readFileSync(join(pki.folder, name));
  return { cert: read('stranger.pem'), key: read('stranger.key') };
}

// The node, with the shipped file, an audit log and the server behind it.
async function startNode() {
  const folder = join(pki.folder, 'node');
  const waiting = fileURLToPath(new URL('waiting-server.mjs', import.meta.url));
  const file = `${filledIn(`${CERTIFICATES}/mcp-node.toml`)}ca_file = "${pki.caFile}"
[node]
data_dir = "${folder}"
[audit]
file = "${join(folder, 'audit.log')}"
[[upstream]]
name = "slow"
command = "${process.execPath}"
args = ["${waiting}"]
`;
  await start(MCP_NODE, folder, file, `http://127.0.0.1:${nodePort}/readyz`);
  return { audit: lines(join(folder, 'audit.log')) };
}

// Lines of JSON that a program writes; `fresh` are those that nobody has read.
function lines(path) {
  let read = 0;
  return {
    fresh() {
      const whole = readFileSync(path, 'utf8').split('\n').slice(0, -1);
      const fresh = whole.slice(read);
      read = whole.length;
      return fresh.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
    },
  };
}

// What `check` returns, once that is something.
async function until(what, proxy, check) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (proxy.isOver() || Date.now() > deadline) throw new Error(`not so: ${what}\n${proxy.log()}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}

// A fetch by a client elsewhere, through the proxy, that claims to be somebody else. Connections are kept, but those of an
// identity.
async function through(url, init = {}, identity = undefined) {
  const to = new URL(url);
  const body = init.body === undefined || init.body === null ? undefined : String(init.body);
  const headers = {
    ...Object.fromEntries(new Headers(init.headers)),
    host: to.host,
    'x-forwarded-for': LIE,
    forwarded: `for=${LIE}`,
    'x-real-ip': LIE,
  };
  if (body !== undefined) headers['content-length'] = Buffer.byteLength(body);
  if (init.body instanceof URLSearchParams) headers['content-type'] = 'application/x-www-form-urlencoded';
  const options = { ...HERE, method: init.method ?? 'GET', path: `${to.pathname}${to.search}`, servername: to.hostname, headers };
  const shown = identity ? { cert: identity.cert, key: identity.key, agent: false } : { agent };
  const answer = await new Promise((resolve, reject) => {
    const sent = request({ ...options, ...shown }, resolve);
    // After the answer, too: whoever refuses a body does not read it to its end.
    sent.on('error', reject);
    sent.end(body);
  });
  const pairs = Object.entries(answer.headers).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return new Response(Readable.toWeb(answer), { status: answer.statusCode, headers: pairs });
}

// A document by HTTP/2.
async function overHttp2(url) {
  const socket = connectTls({ ...HERE, servername: url.hostname, ALPNProtocols: ['h2'] });
  const session = connectHttp2(url.origin, { createConnection: () => socket });
  try {
    const stream = session.request({ ':path': url.pathname });
    let status;
    stream.on('response', (headers) => {
      status = headers[':status'];
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    assert.equal(status, 200, text);
    return JSON.parse(text);
  } finally {
    session.close();
  }
}

// The events of a stream, without its comments.
async function* events(answer) {
  assert.match(answer.headers.get('content-type'), /^text\/event-stream/);
  let text = '';
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const whole = text.split('\n\n');
    text = whole.pop();
    for (const event of whole) {
      const field = (name) => event.split('\n').find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
      const data = field('data');
      if (data) yield { name: field('event'), data: JSON.parse(data) };
    }
  }
}

async function next(stream) {
  const { done, value } = await stream.next();
  assert.ok(!done, 'the stream has ended');
  return value;
}

function mcpHeaders(tool) {
  return {
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    'MCP-Protocol-Version': VERSION,
    'Mcp-Method': 'tools/call',
    'Mcp-Name': tool,
  };
}

function mcpCall(name, args, meta) {
  const _meta = {
    ...meta,
    'io.modelcontextprotocol/protocolVersion': VERSION,
    'io.modelcontextprotocol/clientInfo': { name: 'edge-hive-interop', version: '0.1.0' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  return JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args, _meta } });
}
