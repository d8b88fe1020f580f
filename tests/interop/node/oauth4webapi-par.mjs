// oauth4webapi with everything of FAPI 2.0 that this server offers: a pushed authorization request, DPoP, and a client
// that signs its assertions; then a tool call on the node with the bound token.

import * as oauth from 'oauth4webapi';

import { listen, person, visit } from './browser.mjs';
import { assert, keyPair, operator, start, step, tellingFetch } from './steps.mjs';

const { nodeUrl } = start();
const { fetch } = tellingFetch();
const insecure = { [oauth.allowInsecureRequests]: nodeUrl.protocol === 'http:', [oauth.customFetch]: fetch };
const listener = await listen();
const key = await keyPair('ES256');

const registered = operator(
  'client', 'create', '--name', 'Careful Desk', '--auth-method', 'private_key_jwt', '--jwks', key.jwksFile,
  '--redirect-uri', 'http://127.0.0.1/callback', '--scopes', 'mcp:read mcp:call', '--resource', nodeUrl.href,
  '--require-par', '--dpop-bound',
);
const client = { client_id: registered.client_id };
const authentication = oauth.PrivateKeyJwt({ key: key.privateKey, kid: key.kid });
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));

const { server } = await step('metadata: PAR, DPoP and private_key_jwt are announced', async () => {
  const answer = await oauth.resourceDiscoveryRequest(nodeUrl, insecure);
  const resource = await oauth.processResourceDiscoveryResponse(nodeUrl, answer);
  const issuer = new URL(resource.authorization_servers[0]);
  const found = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' });
  const server = await oauth.processDiscoveryResponse(issuer, found);
  assert.ok(server.pushed_authorization_request_endpoint);
  assert.ok(server.dpop_signing_alg_values_supported.includes('ES256'));
  assert.ok(server.token_endpoint_auth_methods_supported.includes('private_key_jwt'));
  assert.ok(server.token_endpoint_auth_signing_alg_values_supported.includes('ES256'));
  return { server, told: server.pushed_authorization_request_endpoint };
});

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const parameters = {
  client_id: client.client_id,
  response_type: 'code',
  redirect_uri: listener.redirectUri,
  scope: 'mcp:read mcp:call',
  resource: nodeUrl.href,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
};

await step('a request that was not pushed is refused', async () => {
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams(parameters);
  const answer = await fetch(url, { redirect: 'manual' });
  const refused = answer.status === 303 || answer.status === 302
    ? new URL(answer.headers.get('location')).searchParams.get('error')
    : answer.status;
  assert.ok(['invalid_request', 400].includes(refused), String(refused));
});

const { pushed } = await step('RFC 9126: push', async () => {
  const answer = await oauth.pushedAuthorizationRequest(server, client, authentication, parameters, { ...insecure, DPoP });
  const pushed = await oauth.processPushedAuthorizationResponse(server, client, answer);
  assert.ok(pushed.request_uri.startsWith('urn:ietf:params:oauth:request_uri:'));
  assert.ok(pushed.expires_in <= 90);
  return { pushed, told: `${pushed.expires_in} s` };
});

const { redirect } = await step('sign-in and consent in the browser', async () => {
  const url = new URL(server.authorization_endpoint);
  url.searchParams.set('client_id', client.client_id);
  url.searchParams.set('request_uri', pushed.request_uri);
  const { redirect, seen } = await visit(url, person());
  return { redirect, told: seen.join(' | ') };
});

const { tokens } = await step('code, with private_key_jwt and DPoP', async () => {
  const answered = oauth.validateAuthResponse(server, client, redirect, state);
  const answer = await oauth.authorizationCodeGrantRequest(
    server, client, authentication, answered, listener.redirectUri, verifier,
    { ...insecure, DPoP, additionalParameters: { resource: nodeUrl.href } },
  );
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer);
  assert.equal(tokens.token_type, 'dpop');
  return { tokens, told: tokens.scope };
});

await step('tools/call with the proof', () => call(tokens.access_token, DPoP));

await step('the same token with another key is refused', async () => {
  const other = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
  await assert.rejects(call(tokens.access_token, other), (error) => {
    assert.equal(error.status ?? error.response?.status, 401, String(error));
    return true;
  });
});

await step('refresh, with the same proofs', async () => {
  const answer = await oauth.refreshTokenGrantRequest(server, client, authentication, tokens.refresh_token, { ...insecure, DPoP });
  const renewed = await oauth.processRefreshTokenResponse(server, client, answer);
  assert.equal(renewed.token_type, 'dpop');
  return call(renewed.access_token, DPoP);
});
listener.close();
process.exit(0);

// One tool call of revision 2026-07-28, as a protected resource request.
async function call(token, proof) {
  const version = '2026-07-28';
  const headers = new Headers({
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    'MCP-Protocol-Version': version,
    'Mcp-Method': 'tools/call',
    'Mcp-Name': 'get_status',
  });
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: {
      name: 'get_status',
      arguments: {},
      _meta: {
        'io.modelcontextprotocol/protocolVersion': version,
        'io.modelcontextprotocol/clientInfo': { name: 'edge-hive-interop', version: '0.1.0' },
        'io.modelcontextprotocol/clientCapabilities': {},
      },
    },
  });
  const options = { ...insecure, DPoP: proof };
  const answer = await oauth.protectedResourceRequest(token, 'POST', nodeUrl, headers, body, options);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return { told: text.slice(0, 120) };
}
