// The official TypeScript client, with every other way to prove who it is and what it holds: private_key_jwt, an
// identity assertion of the enterprise's provider, DPoP, a client id metadata document, dynamic registration.

import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';

import {
  Client,
  ClientCredentialsProvider,
  CrossAppAccessProvider,
  DpopSession,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client';
import { SignJWT, decodeJwt } from 'jose';

import { Application } from './application.mjs';
import { launch, listen, person } from './browser.mjs';
import { assert, keyPair, operator, start, step, tellingFetch, temporary } from './steps.mjs';

const { nodeUrl, clientId, clientSecret } = start();
const { ISSUER, IDP_ISSUER } = process.env;
const SCOPES = 'mcp:read mcp:call';

// The client goes on after a warning. Here it counts as a failure.
const complaints = [];
console.warn = (...words) => complaints.push(words.join(' '));

const [ec, identity] = [await keyPair('ES256'), await keyPair('ES256')];
const provider = await identityProvider();

const keyAgent = operator(
  'client', 'create', '--name', 'Key Agent', '--auth-method', 'private_key_jwt', '--jwks', ec.jwksFile,
  '--scopes', SCOPES, '--resource', nodeUrl.href,
);
await step('private_key_jwt: no secret was made', async () => assert.equal(keyAgent.client_secret, undefined));
await step('private_key_jwt, PrivateKeyJwtProvider', async () => {
  const authProvider = new PrivateKeyJwtProvider({
    clientId: keyAgent.client_id,
    privateKey: ec.privateJwk,
    algorithm: 'ES256',
    expectedIssuer: ISSUER,
  });
  return called(authProvider);
});

await step('DPoP: token and calls are bound to a key', async () => {
  const session = await DpopSession.create();
  const authProvider = new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer: ISSUER });
  authProvider.dpop = () => session;
  const outcome = await called(authProvider);
  const tokens = authProvider.tokens();
  assert.equal(tokens.token_type, 'DPoP');
  assert.equal(decodeJwt(tokens.access_token).cnf.jkt, session.thumbprint);
  const asBearer = await fetch(nodeUrl, {
    method: 'POST',
    headers: { Authorization: `Bearer ${tokens.access_token}`, 'Content-Type': 'application/json' },
    body: '{}',
  });
  assert.equal(asBearer.status, 401, 'without the key the token is worth nothing');
  return outcome;
});

await step('identity assertion, CrossAppAccessProvider', async () => {
  const workplace = operator(
    'client', 'create', '--name', 'Workplace Agent', '--grants', 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    '--scopes', SCOPES, '--resource', nodeUrl.href,
  );
  const authProvider = new CrossAppAccessProvider({
    clientId: workplace.client_id,
    clientSecret: workplace.client_secret,
    assertion: ({ authorizationServerUrl, resourceUrl, scope }) => new SignJWT({
      resource: resourceUrl.toString(),
      client_id: workplace.client_id,
      scope: scope ?? SCOPES,
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'oauth-id-jag+jwt', kid: identity.kid })
      .setIssuer(IDP_ISSUER)
      .setSubject('user-7')
      .setAudience(authorizationServerUrl.toString())
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(identity.privateKey),
    expectedIssuer: ISSUER,
  });
  const outcome = await called(authProvider);
  assert.equal(authProvider.tokens().refresh_token, undefined);
  return outcome;
});

const browser = await launch();
await step('client id metadata document, with DPoP', async () => {
  const url = 'https://agent.example/oauth/client.json';
  const redirects = ['http://127.0.0.1/callback', 'http://localhost/callback'];
  const document = {
    client_id: url,
    client_name: 'Document Agent',
    redirect_uris: redirects,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };
  operator('client', 'import', '--document', temporary('client.json', document), '--pin');
  const dpop = await DpopSession.create();
  const { application, told } = await approved({ clientMetadataUrl: url, dpop });
  assert.equal(application.clientInformation().client_id, url);
  assert.equal(application.tokens().token_type, 'DPoP');
  return { told };
});

await step('dynamic registration', async () => {
  const { application, told } = await approved({ metadata: { grant_types: ['authorization_code', 'refresh_token'] } });
  assert.ok(!application.clientInformation().client_id.startsWith('https://'));
  return { told };
});
await browser.close();
provider.close();
await step('the client complained of nothing', async () => assert.deepEqual(complaints, []));
process.exit(0);

// A program with credentials of its own, from the node's URL to a tool call.
async function called(authProvider) {
  const client = new Client({ name: 'edge-hive-interop', version: '0.1.0' });
  const { fetch } = tellingFetch();
  await client.connect(new StreamableHTTPClientTransport(nodeUrl, { authProvider, fetch }));
  const result = await client.callTool({ name: 'get_status', arguments: {} });
  assert.notEqual(result.isError, true);
  await client.close();
  return { told: JSON.stringify(decodeJwt(authProvider.tokens().access_token)) };
}

// A program that acts for a person, from the node's URL to a tool call, with a step-up and a refresh.
async function approved(options) {
  const listener = await listen();
  const context = await browser.newContext();
  const application = new Application({ listener, context, person: person(), ...options });
  const { fetch } = tellingFetch();
  const client = new Client({ name: 'edge-hive-interop', version: '0.1.0' });
  const first = new StreamableHTTPClientTransport(nodeUrl, { authProvider: application, fetch });
  await assert.rejects(client.connect(first), UnauthorizedError);
  await first.finishAuth(await application.answer());
  const second = new Client({ name: 'edge-hive-interop', version: '0.1.0' });
  const transport = new StreamableHTTPClientTransport(nodeUrl, { authProvider: application, fetch });
  await second.connect(transport);
  const call = () => second.callTool({ name: 'get_status', arguments: {} });
  let result;
  try {
    result = await call();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await transport.finishAuth(await application.answer());
    result = await call();
  }
  assert.notEqual(result.isError, true);
  const before = application.tokens().refresh_token;
  application.spoil();
  assert.notEqual((await call()).isError, true);
  assert.notEqual(application.tokens().refresh_token, before, 'the refresh token was replaced');
  await second.close();
  await context.close();
  listener.close();
  return { application, told: application.seen.join(' | ') };
}

// The enterprise's provider, as far as the server sees it: a key set.
async function identityProvider() {
  const server = createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ keys: [identity.publicJwk] }));
  });
  await new Promise((resolve) => {
    server.listen(Number(new URL(IDP_ISSUER).port), '127.0.0.1', resolve);
  });
  return server;
}
