// The official TypeScript client, as a program that knows the node's URL and its own credentials.
//
// Both eras: `initialize` (2025-11-25 and older, what the client does unless told otherwise) and 2026-07-28. The client
// is given no scope and no token: it follows the node's challenges to the authorization server by itself.

import {
  Client,
  ClientCredentialsProvider,
  StreamableHTTPClientTransport,
  discoverOAuthProtectedResourceMetadata,
} from '@modelcontextprotocol/client';

import { assert, start, step, tellingFetch } from './steps.mjs';

const { nodeUrl, clientId, clientSecret } = start();

// The client goes on after a warning, a schema keyword that it does not know for example. Here it counts as a failure.
const complaints = [];
console.warn = (...words) => complaints.push(words.join(' '));

const { issuer } = await step('discover the issuer from the node', async () => {
  const metadata = await discoverOAuthProtectedResourceMetadata(nodeUrl);
  assert.equal(metadata.resource, nodeUrl.href);
  return { issuer: metadata.authorization_servers[0], told: metadata.authorization_servers[0] };
});

for (const [era, versionNegotiation] of [
  ['legacy', { mode: 'legacy' }],
  ['2026-07-28', { mode: { pin: '2026-07-28' } }],
]) {
  console.log(`\n== ${era}`);
  await useNode(era, versionNegotiation);
}
await step('the client complained of nothing', async () => assert.deepEqual(complaints, []));
process.exit(0);

async function useNode(era, versionNegotiation) {
  const { fetch, requests } = tellingFetch();
  const authProvider = new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer: issuer });
  const transport = new StreamableHTTPClientTransport(nodeUrl, { authProvider, fetch });
  const client = new Client({ name: 'edge-hive-interop', version: '0.1.0' }, { versionNegotiation });

  await step('connect: challenge, discovery, token, first request', async () => {
    await client.connect(transport);
    const version = client.getNegotiatedProtocolVersion();
    if (era === 'legacy') assert.ok(version <= '2025-11-25', `negotiated ${version}`);
    else assert.equal(version, era);
    assert.ok(requests.some((request) => request.startsWith(`POST ${nodeUrl} 401`)), 'the node asked for a token');
    assert.ok(requests.some((request) => request.includes('/.well-known/oauth-protected-resource')));
    assert.ok(requests.some((request) => request.startsWith(`GET ${issuer}/.well-known/`)));
    assert.ok(authProvider.tokens()?.access_token);
    return { told: `revision ${version}, ${client.getServerVersion()?.name}` };
  });

  await step('tools/list', async () => {
    const { tools } = await client.listTools();
    const names = tools.map((tool) => tool.name);
    assert.ok(names.includes('get_status'), `tools: ${names}`);
    return { told: names.join(', ') };
  });

  await step('tools/call get_status', async () => {
    const result = await client.callTool({ name: 'get_status', arguments: {} });
    assert.notEqual(result.isError, true);
    assert.ok(result.structuredContent ?? result.content.length > 0);
    return { told: JSON.stringify(result.structuredContent ?? result.content).slice(0, 160) };
  });

  await step('resources/read edge-hive://status', async () => {
    const { contents } = await client.readResource({ uri: 'edge-hive://status' });
    assert.equal(contents.length, 1);
    assert.equal(contents[0].uri, 'edge-hive://status');
    assert.ok(contents[0].text.length > 0);
    return { told: contents[0].text.slice(0, 160) };
  });

  await step('an unknown tool is refused', async () => {
    await assert.rejects(client.callTool({ name: 'no_such_tool', arguments: {} }), (error) => {
      assert.equal(error.code, -32602);
      return true;
    });
  });

  await client.close();
}
