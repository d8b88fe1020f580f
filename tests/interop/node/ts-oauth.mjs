// The official TypeScript client with an OAuthClientProvider: everything that an interactive client does for a person.
//
// It is given the node's URL and a client id that an operator registered. Discovery from the node's 401, authorization
// code with PKCE through the real pages, a step-up when a call needs more scopes, and a refresh.

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

import { Application } from './application.mjs';
import { launch, listen, person } from './browser.mjs';
import { assert, start, step, tellingFetch } from './steps.mjs';

const { nodeUrl } = start();
const clientId = process.env.PUBLIC_CLIENT_ID;
const somebody = person();

// The client goes on after a warning. Here it counts as a failure.
const complaints = [];
console.warn = (...words) => complaints.push(words.join(' '));

const browser = await launch();
for (const [era, versionNegotiation] of [
  ['legacy', { mode: 'legacy' }],
  ['2026-07-28', { mode: { pin: '2026-07-28' } }],
]) {
  console.log(`\n== ${era}`);
  await useNode(versionNegotiation);
}
await browser.close();
await step('the client complained of nothing', async () => assert.deepEqual(complaints, []));
process.exit(0);

async function useNode(versionNegotiation) {
  const listener = await listen();
  // A person's browser stays signed in between the first consent and the step-up.
  const context = await browser.newContext();
  const provider = new Application({ listener, context, person: somebody, information: { client_id: clientId, issuer: process.env.ISSUER } });
  const { fetch, requests } = tellingFetch();
  let client = fresh();
  let transport;

  await step('connect: challenge, discovery, sign-in and consent in the browser, code', async () => {
    await connect();
    assert.ok(provider.tokens().access_token);
    assert.ok(provider.tokens().refresh_token, 'a refresh token without asking for offline_access');
    return { told: `pages seen: ${provider.seen.join(' | ')}; scope ${provider.tokens().scope}` };
  });

  await step('tools/list', async () => {
    const { tools } = await client.listTools();
    return { told: tools.map((tool) => tool.name).join(', ') };
  });

  await step('tools/call get_status, with a step-up if it needs one', async () => {
    const result = await withConsent(() => client.callTool({ name: 'get_status', arguments: {} }));
    assert.notEqual(result.isError, true);
    assert.equal(provider.seen.filter((title) => title === 'Sign in').length, 1, 'signed in once');
    assert.deepEqual(provider.tokens().scope.split(' ').sort(), ['mcp:call', 'mcp:read'], 'it has what it had, and more');
    return { told: `pages seen: ${provider.seen.join(' | ')}; scope ${provider.tokens().scope}` };
  });

  await step('a token that no longer works is refreshed without the person', async () => {
    const before = provider.tokens().refresh_token;
    const pages = provider.seen.length;
    provider.spoil();
    const result = await client.callTool({ name: 'get_status', arguments: {} });
    assert.notEqual(result.isError, true);
    assert.notEqual(provider.tokens().refresh_token, before, 'the refresh token was replaced');
    assert.equal(provider.seen.length, pages);
    assert.ok(requests.filter((request) => /POST .*\/oauth\/token 200/.test(request)).length >= 2);
  });

  await client.close();
  await context.close();
  listener.close();

  function fresh() {
    return new Client({ name: 'edge-hive-interop', version: '0.1.0' }, { versionNegotiation });
  }

  async function connect() {
    await withConsent(async () => {
      client = fresh();
      transport = new StreamableHTTPClientTransport(nodeUrl, { authProvider: provider, fetch });
      await client.connect(transport);
    });
  }

  // Runs an action; when the client says that a person must authorize it, the person does, and it runs again.
  async function withConsent(action) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof UnauthorizedError)) throw error;
      await transport.finishAuth(await provider.answer());
      return action();
    }
  }
}
