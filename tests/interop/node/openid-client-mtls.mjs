// openid-client with mutual TLS (RFC 8705): a client known by the subject of its certificate, and one that registered
// a certificate of its own making. Tokens are bound to the certificate, and the node takes them with it only.

import { X509Certificate } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { decodeJwt, exportJWK, importX509 } from 'jose';
import * as client from 'openid-client';

import { authority, fetchWith, freePort, start } from './fleet.mjs';
import { assert, step, temporary } from './steps.mjs';

const { OPERATOR, MCP_NODE } = process.env;
const pki = authority();
const server = pki.issue('server', '/CN=localhost', 'serverAuth', 'DNS:localhost');
const agent = pki.issue('agent', '/O=Edge Hive/CN=agent-7', 'clientAuth', 'DNS:agent-7.example');
const other = pki.issue('other', '/O=Edge Hive/CN=agent-8', 'clientAuth', 'DNS:agent-8.example');
const own = selfSigned();

const [port, mtlsPort, nodePort] = [await freePort(), await freePort(), await freePort()];
const issuer = `https://localhost:${port}`;
const resource = `https://localhost:${nodePort}/mcp`;
const files = `cert_file = "${server.certFile}"\nkey_file = "${server.keyFile}"`;
const folder = (name) => join(pki.folder, name);

const { config: authz } = await start(OPERATOR, folder('as'), `
[server]
listen = ["127.0.0.1:${port}"]
issuer = "${issuer}"
data_dir = "${folder('as')}"
[tls]
mode = "files"
${files}
mtls_listen = ["127.0.0.1:${mtlsPort}"]
mtls_url = "https://localhost:${mtlsPort}"
client_ca_file = "${pki.caFile}"
`, `${issuer}/readyz`, pki.ca);
const operator = (...words) => JSON.parse(execFileSync(OPERATOR, [...words, '--config', authz, '--json'], { encoding: 'utf8' }));
operator('resource', 'create', '--uri', resource);
await start(MCP_NODE, folder('node'), `
[server]
listen = ["127.0.0.1:${nodePort}"]
resource = "${resource}"
[node]
name = "mtls-node"
data_dir = "${folder('node')}"
[tls]
mode = "files"
${files}
client_certificates = "request"
[[issuer]]
url = "${issuer}"
ca_file = "${pki.caFile}"
`, `https://localhost:${nodePort}/readyz`, pki.ca);

const common = ['--scopes', 'mcp:read mcp:call', '--resource', resource, '--certificate-bound'];
const byName = operator('client', 'create', '--name', 'Named', '--auth-method', 'tls_client_auth',
  '--tls-subject-dn', 'CN=agent-7,O=Edge Hive', ...common);
const byKey = operator('client', 'create', '--name', 'Own certificate', '--auth-method', 'self_signed_tls_client_auth',
  '--jwks', temporary('jwks.json', { keys: [await certificateJwk(own)] }), ...common);

for (const [title, clientId, identity] of [['tls_client_auth', byName.client_id, agent], ['self_signed_tls_client_auth', byKey.client_id, own]]) {
  console.log(`\n== ${title}`);
  const { config } = await step('discovery: endpoints that ask for a certificate are apart', async () => {
    const config = await configured(clientId, identity);
    const metadata = config.serverMetadata();
    assert.ok(metadata.token_endpoint.startsWith(issuer));
    assert.ok(metadata.mtls_endpoint_aliases.token_endpoint.startsWith(`https://localhost:${mtlsPort}/`));
    assert.ok(metadata.token_endpoint_auth_methods_supported.includes(title));
    return { config, told: metadata.mtls_endpoint_aliases.token_endpoint };
  });

  const { tokens } = await step('client_credentials, bound to the certificate', async () => {
    const tokens = await client.clientCredentialsGrant(config, { resource });
    const thumbprint = new X509Certificate(identity.cert).fingerprint256.replaceAll(':', '');
    assert.equal(decodeJwt(tokens.access_token).cnf['x5t#S256'], Buffer.from(thumbprint, 'hex').toString('base64url'));
    return { tokens, told: JSON.stringify(decodeJwt(tokens.access_token)) };
  });

  await step('introspection shows the binding', async () => {
    const about = await client.tokenIntrospection(config, tokens.access_token);
    assert.equal(about.active, true);
    assert.ok(about.cnf['x5t#S256']);
  });

  await step('tools/call with the certificate', async () => {
    const answer = await call(identity, tokens.access_token);
    assert.equal(answer.status, 200, await answer.text());
  });

  await step('without it, or with another, the token is refused', async () => {
    for (const stranger of [undefined, other]) {
      const answer = await call(stranger, tokens.access_token);
      assert.equal(answer.status, 401);
      assert.match(answer.headers.get('www-authenticate'), /invalid_token/);
    }
  });

  await step('another certificate is not the client', async () => {
    const stranger = await configured(clientId, other);
    await assert.rejects(client.clientCredentialsGrant(stranger, { resource }), (error) => {
      assert.equal(error.error ?? error.cause?.error, 'invalid_client', String(error));
      return true;
    });
  });
}
process.exit(0);

async function configured(clientId, identity) {
  const metadata = { use_mtls_endpoint_aliases: true };
  return client.discovery(new URL(issuer), clientId, metadata, client.TlsClientAuth(), {
    [client.customFetch]: fetchWith(pki.ca, identity),
  });
}

function call(identity, token) {
  const version = '2026-07-28';
  const headers = {
    Authorization: `Bearer ${token}`,
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    'MCP-Protocol-Version': version,
    'Mcp-Method': 'tools/call',
    'Mcp-Name': 'get_status',
  };
  const params = {
    name: 'get_status',
    arguments: {},
    _meta: {
      'io.modelcontextprotocol/protocolVersion': version,
      'io.modelcontextprotocol/clientInfo': { name: 'edge-hive-interop', version: '0.1.0' },
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  return fetchWith(pki.ca, identity)(resource, { method: 'POST', headers, body });
}

// A certificate that nobody vouches for.
function selfSigned() {
  const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'own.key',
    '-out', 'own.pem', '-subj', '/CN=own', '-days', '2'];
  execFileSync('openssl', words, { cwd: pki.folder, stdio: ['ignore', 'ignore', 'pipe'] });
  const read = (name) => readFileSync(join(pki.folder, name));
  return { cert: read('own.pem'), key: read('own.key') };
}

async function certificateJwk({ cert }) {
  const key = await importX509(cert.toString(), 'ES256', { extractable: true });
  const x5c = [new X509Certificate(cert).raw.toString('base64')];
  return { ...(await exportJWK(key)), kid: 'own', alg: 'ES256', use: 'sig', x5c };
}
