// Real clients through a node to the official reference server behind it (`@modelcontextprotocol/server-everything`): the
// TypeScript SDK 1.x and 2.x in both eras, mcp-remote, and the MCP Inspector on its command line. The token comes from
// the node's authorization server; the reference server knows of none.

import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from '@modelcontextprotocol/client';
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as Transport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { assert, start, step } from './steps.mjs';

const { nodeUrl, clientId, clientSecret } = start();
const inPackages = (path) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));
const identity = { name: 'edge-hive-interop', version: '0.1.0' };

const { authorization } = await step('a token for the node', async () => {
  const body = new URLSearchParams({ grant_type: 'client_credentials', resource: nodeUrl.href });
  const basic = Buffer.from(`${clientId}:${clientSecret}`).toString('base64');
  const headers = { authorization: `Basic ${basic}` };
  const answer = await fetch(`${process.env.ISSUER}/oauth/token`, { method: 'POST', headers, body });
  const { access_token: token, token_type: type } = await answer.json();
  assert.equal(type, 'Bearer');
  return { authorization: `Bearer ${token}` };
});

const requestInit = { headers: { authorization } };
await throughSdk('SDK 1.x', new Client1(identity), new Transport1(nodeUrl, { requestInit }));
for (const [era, versionNegotiation] of [
  ['legacy', { mode: 'legacy' }],
  ['2026-07-28', { mode: { pin: '2026-07-28' } }],
]) {
  await throughSdk(`SDK 2.x, ${era}`, new Client2(identity, { versionNegotiation }), new Transport2(nodeUrl, { requestInit }));
}
await throughRemote();
await throughInspector();
process.exit(0);

async function throughSdk(name, client, transport) {
  console.log(`\n== ${name}`);
  await client.connect(transport);
  await step('tools of the reference server are listed with their schemas', async () => {
    const { tools } = await client.listTools();
    const echo = tools.find((tool) => tool.name === 'everything_echo');
    assert.deepEqual(Object.keys(echo.inputSchema.properties), ['message']);
    assert.ok(tools.find((tool) => tool.name === 'everything_get-structured-content').outputSchema);
    assert.ok(tools.some((tool) => tool.name === 'get_status'), 'the node has its own tools too');
    return { told: `${tools.length} tools` };
  });
  await step('a call, and one with structured content that fits its schema', async () => {
    const echoed = await client.callTool({ name: 'everything_echo', arguments: { message: 'a b é' } });
    assert.match(echoed.content[0].text, /a b é/);
    const weather = await client.callTool({ name: 'everything_get-structured-content', arguments: { location: 'Chicago' } });
    assert.equal(typeof weather.structuredContent.temperature, 'number');
  });
  await step('progress arrives in order, before the result', async () => {
    const seen = [];
    const call = { name: 'everything_trigger-long-running-operation', arguments: { duration: 1, steps: 4 } };
    const options = { onprogress: ({ progress, total }) => seen.push([progress, total]) };
    // The older SDK has a schema of results before its options.
    const result = client instanceof Client1
      ? await client.callTool(call, undefined, options)
      : await client.callTool(call, options);
    assert.notEqual(result.isError, true);
    assert.deepEqual(seen, [1, 2, 3, 4].map((progress) => [progress, 4]));
  });
  await step('a resource, by a link that a tool gives', async () => {
    const { content } = await client.callTool({ name: 'everything_get-resource-links', arguments: { count: 2 } });
    const link = content.find((block) => block.type === 'resource_link');
    assert.match(link.uri, /^everything\+demo:/);
    const { contents } = await client.readResource({ uri: link.uri });
    assert.equal(contents[0].uri, link.uri);
    return { told: link.uri };
  });
  await step('prompts and completion', async () => {
    const { prompts } = await client.listPrompts();
    assert.ok(prompts.some((prompt) => prompt.name === 'everything_args-prompt'));
    const { messages } = await client.getPrompt({ name: 'everything_args-prompt', arguments: { city: 'Girona' } });
    assert.match(messages[0].content.text, /Girona/);
    const { completion } = await client.complete({
      ref: { type: 'ref/prompt', name: 'everything_completable-prompt' },
      argument: { name: 'department', value: 'E' },
    });
    assert.deepEqual(completion.values, ['Engineering']);
  });
  await step('arguments that its tool refuses', async () => {
    const refused = await client.callTool({ name: 'everything_echo', arguments: {} }).catch((error) => ({ isError: true, error }));
    assert.equal(refused.isError, true);
  });
  await client.close();
}

async function throughRemote() {
  console.log('\n== mcp-remote');
  const words = [inPackages('mcp-remote/dist/proxy.js'), nodeUrl.href, '--transport', 'http-only', '--allow-http', '--header', `Authorization:${authorization}`];
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'pipe'] });
  const waiting = new Map();
  let log = '';
  child.stderr.on('data', (data) => {
    log += data;
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line);
    waiting.get(message.id)?.(message);
  });
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  const ask = (id, method, params) =>
    new Promise((resolve, reject) => {
      waiting.set(id, resolve);
      child.on('exit', (code) => reject(new Error(`mcp-remote ended with ${code}:\n${log}`)));
      setTimeout(() => reject(new Error(`no ${method} from mcp-remote:\n${log}`)), 30_000).unref();
      send({ id, method, params });
    });
  await step('a host on stdio lists and calls', async () => {
    const hello = await ask(1, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: identity });
    assert.ok(hello.result.serverInfo);
    send({ method: 'notifications/initialized' });
    const { result } = await ask(2, 'tools/list', {});
    assert.ok(result.tools.some((tool) => tool.name === 'everything_echo'));
    const called = await ask(3, 'tools/call', { name: 'everything_echo', arguments: { message: 'over stdio' } });
    assert.match(called.result.content[0].text, /over stdio/);
  });
  child.removeAllListeners('exit');
  child.kill('SIGTERM');
}

async function throughInspector() {
  console.log('\n== MCP Inspector, command line');
  const inspector = inPackages('@modelcontextprotocol/inspector/clients/launcher/build/index.js');
  const run = async (...words) => {
    const all = [inspector, '--cli', nodeUrl.href, '--transport', 'http', '--header', `Authorization: ${authorization}`, ...words];
    const { stdout } = await promisify(execFile)(process.execPath, all, { timeout: 60_000 });
    return JSON.parse(stdout);
  };
  await step('tools/list', async () => {
    const { tools } = await run('--method', 'tools/list');
    assert.ok(tools.some((tool) => tool.name === 'everything_echo'));
  });
  await step('tools/call', async () => {
    const called = await run('--method', 'tools/call', '--tool-name', 'everything_echo', '--tool-arg', 'message=inspected');
    assert.match(called.content[0].text, /inspected/);
  });
}
