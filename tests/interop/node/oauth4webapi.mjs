// oauth4webapi, a certified client library, against the authorization server, and MCP with nothing but fetch.
//
// Resource and server metadata (RFC 9728, RFC 8414), client_credentials with both kinds of client secret, the access
// token looked at as a resource server would (RFC 9068), introspection and revocation (RFC 7662, RFC 7009).

import { compactVerify, createRemoteJWKSet } from 'jose';
import * as oauth from 'oauth4webapi';

import { assert, start, step, tellingFetch } from './steps.mjs';

const { nodeUrl, clientId, clientSecret } = start();
const { fetch } = tellingFetch();
// Plain http is refused by default; on loopback it is what the programs speak.
const options = { [oauth.allowInsecureRequests]: nodeUrl.protocol === 'http:', [oauth.customFetch]: fetch };
const client = { client_id: clientId };
const basic = oauth.ClientSecretBasic(clientSecret);
const post = oauth.ClientSecretPost(clientSecret);

const { resource } = await step('RFC 9728: resource metadata', async () => {
  const answer = await oauth.resourceDiscoveryRequest(nodeUrl, options);
  const resource = await oauth.processResourceDiscoveryResponse(nodeUrl, answer);
  assert.ok(resource.scopes_supported.includes('mcp:read'));
  return { resource, told: resource.authorization_servers.join(', ') };
});

const { server } = await step('RFC 8414: authorization server metadata', async () => {
  const issuer = new URL(resource.authorization_servers[0]);
  const answer = await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oauth2' });
  const server = await oauth.processDiscoveryResponse(issuer, answer);
  assert.equal(server.issuer, resource.authorization_servers[0]);
  assert.ok(server.grant_types_supported.includes('client_credentials'));
  return { server, told: server.token_endpoint };
});

await step('OpenID Connect position of the same metadata', async () => {
  const issuer = new URL(server.issuer);
  const answer = await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oidc' });
  assert.deepEqual(await oauth.processDiscoveryResponse(issuer, answer), server);
});

const tokens = {};
for (const [method, authentication] of [['client_secret_basic', basic], ['client_secret_post', post]]) {
  await step(`client_credentials with ${method}`, async () => {
    assert.ok(server.token_endpoint_auth_methods_supported.includes(method));
    const parameters = { resource: nodeUrl.href };
    const answer = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters, options);
    const token = await oauth.processClientCredentialsResponse(server, client, answer);
    assert.equal(token.refresh_token, undefined);
    tokens[method] = token.access_token;
    return { told: `${token.token_type}, ${token.expires_in} s, scope ${token.scope}` };
  });
}

await step('a wrong secret is refused', async () => {
  for (const authentication of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
    const wrong = authentication(`${clientSecret}x`);
    const answer = await oauth.clientCredentialsGrantRequest(server, client, wrong, {}, options);
    await assert.rejects(oauth.processClientCredentialsResponse(server, client, answer), (error) => {
      const challenge = error.cause?.[0]?.scheme;
      assert.ok(error.error === 'invalid_client' || challenge === 'basic', String(error));
      assert.equal(answer.status, 401);
      return true;
    });
  }
});

await step('RFC 9068: the access token, by oauth4webapi', async () => {
  const request = new Request(nodeUrl, { headers: { Authorization: `Bearer ${tokens.client_secret_basic}` } });
  const claims = await oauth.validateJwtAccessToken(server, request, nodeUrl.href, options);
  assert.equal(claims.client_id, clientId);
  assert.equal(claims.aud, nodeUrl.href);
  return { told: JSON.stringify(claims) };
});

await step('RFC 7517: its signature, by jose', async () => {
  const keys = createRemoteJWKSet(new URL(server.jwks_uri));
  const { protectedHeader } = await compactVerify(tokens.client_secret_basic, keys);
  assert.equal(protectedHeader.typ, 'at+jwt');
  assert.ok(protectedHeader.kid);
  return { told: JSON.stringify(protectedHeader) };
});

await step('RFC 7662: introspection says active', async () => {
  const about = await introspect(tokens.client_secret_basic, basic);
  assert.equal(about.active, true);
  assert.equal(about.client_id, clientId);
  assert.equal(about.aud, nodeUrl.href);
  return { told: JSON.stringify(about) };
});

await step('tools/call, initialize era', () => callInLegacyEra(tokens.client_secret_basic));
await step('tools/call, 2026-07-28', () => callInModernEra(tokens.client_secret_post));

await step('RFC 7009: revocation, and introspection says inactive at once', async () => {
  const revoke = async (token) => {
    const answer = await oauth.revocationRequest(server, client, post, token, options);
    await oauth.processRevocationResponse(answer);
  };
  await revoke(tokens.client_secret_basic);
  assert.deepEqual(await introspect(tokens.client_secret_basic, post), { active: false });
  assert.equal((await introspect(tokens.client_secret_post, post)).active, true, 'the other token still is');
  await revoke(tokens.client_secret_basic);
  await revoke('not-a-token');
});

await step('without a token the node asks for one', async () => {
  const answer = await fetch(nodeUrl, { method: 'POST', headers: jsonHeaders(), body: '{}' });
  assert.equal(answer.status, 401);
  assert.match(answer.headers.get('www-authenticate'), /^Bearer .*resource_metadata="/);
});

async function introspect(token, authentication) {
  const answer = await oauth.introspectionRequest(server, client, authentication, token, options);
  return oauth.processIntrospectionResponse(server, client, answer);
}

async function callInLegacyEra(token) {
  const version = '2025-11-25';
  const { result: hello } = await rpc(token, {}, request(1, 'initialize', {
    protocolVersion: version,
    capabilities: {},
    clientInfo: { name: 'edge-hive-interop', version: '0.1.0' },
  }));
  assert.equal(hello.protocolVersion, version);

  const headers = { 'MCP-Protocol-Version': version };
  const accepted = await post202(token, headers, { jsonrpc: '2.0', method: 'notifications/initialized' });
  assert.equal(accepted, 202);

  const { result } = await rpc(token, headers, request(2, 'tools/call', { name: 'get_status', arguments: {} }));
  assert.notEqual(result.isError, true);
  return { told: JSON.stringify(result).slice(0, 160) };
}

async function callInModernEra(token) {
  const version = '2026-07-28';
  const params = {
    name: 'get_status',
    arguments: {},
    _meta: {
      'io.modelcontextprotocol/protocolVersion': version,
      'io.modelcontextprotocol/clientInfo': { name: 'edge-hive-interop', version: '0.1.0' },
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  };
  const headers = { 'MCP-Protocol-Version': version, 'Mcp-Method': 'tools/call', 'Mcp-Name': 'get_status' };
  const { result } = await rpc(token, headers, request(3, 'tools/call', params));
  assert.equal(result.resultType, 'complete');
  assert.notEqual(result.isError, true);
  return { told: JSON.stringify(result).slice(0, 160) };
}

function request(id, method, params) {
  return { jsonrpc: '2.0', id, method, params };
}

// The one response to a request, whether it came as JSON or as the last event of a stream.
async function rpc(token, headers, message) {
  const answer = await send(token, headers, message);
  const body = await answer.text();
  assert.equal(answer.status, 200, body);
  const stream = answer.headers.get('content-type').startsWith('text/event-stream');
  const events = body.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trim());
  const response = JSON.parse(stream ? events.filter(Boolean).at(-1) : body);
  assert.equal(response.id, message.id);
  assert.equal(response.error, undefined, JSON.stringify(response.error));
  return response;
}

async function post202(token, headers, message) {
  return (await send(token, headers, message)).status;
}

function send(token, headers, message) {
  const all = { ...jsonHeaders(), ...headers, Authorization: `Bearer ${token}` };
  return fetch(nodeUrl, { method: 'POST', headers: all, body: JSON.stringify(message) });
}

function jsonHeaders() {
  return { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };
}
