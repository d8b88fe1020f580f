// mcp-remote, the bridge that hosts without OAuth use: a stdio server to its host, an OAuth client to our node.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { launch, person, visit } from './browser.mjs';
import { assert, start, step } from './steps.mjs';

const { nodeUrl } = start();
const somebody = person();
const program = fileURLToPath(new URL('node_modules/mcp-remote/dist/proxy.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mcp-remote-'));
const browser = await launch();
const context = await browser.newContext();
let bridge;

try {
  await step('authorized in the browser, then tools/list and tools/call (with a step-up) over stdio', async () => {
    bridge = open();
    await bridge.hello();
    const names = await bridge.use();
    assert.ok(bridge.seen.length > 1, `pages seen: ${bridge.seen}`);
    return { told: `${names.join(', ')}; pages seen: ${bridge.seen.join(' | ')}` };
  });
  await step('the next start needs no person', async () => {
    await bridge.close();
    bridge = open();
    await bridge.hello();
    await bridge.use();
    assert.deepEqual(bridge.seen, []);
  });
} finally {
  await bridge?.close();
  await browser.close();
  rmSync(folder, { recursive: true });
}
process.exit(0);

function open() {
  const words = [
    program, nodeUrl.href, '--transport', 'http-only', '--auth-timeout', '60', '--static-oauth-client-info',
    JSON.stringify({ client_id: process.env.PUBLIC_CLIENT_ID }),
  ];
  // Where it would open a browser, it finds one that does nothing; ours gets the address from what it prints.
  const env = { ...process.env, MCP_REMOTE_CONFIG_DIR: folder, BROWSER: '/bin/true', DISPLAY: '' };
  const child = spawn(process.execPath, words, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const answers = new Map();
  const seen = [];
  const visited = new Set();
  let log = '';
  let fail;
  const failed = new Promise((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line);
    answers.get(message.id)?.(message);
  });
  child.stderr.on('data', (data) => {
    log += data;
    // It prints where the person must go: at the start, and when a call needs more scopes.
    for (const [url] of log.matchAll(/https?:\/\/\S+\/oauth\/authorize\?\S+(?=\s)/g)) {
      if (visited.has(url)) continue;
      visited.add(url);
      visit(url, somebody, context).then((outcome) => seen.push(...outcome.seen), fail);
    }
  });
  const ended = new Promise((resolve) => {
    child.on('exit', resolve);
  });
  const died = ended.then((code) => {
    throw new Error(`mcp-remote ended with ${code}:\n${log}`);
  });
  died.catch(() => {});
  const patient = (promise, what) =>
    Promise.race([
      promise,
      died,
      failed,
      new Promise((_, reject) => {
        setTimeout(() => reject(new Error(`no ${what} from mcp-remote:\n${log}`)), 40_000).unref();
      }),
    ]);
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  const ask = (id, method, params) => {
    const answer = new Promise((resolve) => {
      answers.set(id, resolve);
    });
    send({ id, method, params });
    return patient(answer, method);
  };
  return {
    seen,
    async hello() {
      const clientInfo = { name: 'edge-hive-interop', version: '0.1.0' };
      const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
      const { result } = await ask(1, 'initialize', params);
      assert.ok(result?.serverInfo);
      send({ method: 'notifications/initialized' });
    },
    async use() {
      const { result } = await ask(2, 'tools/list', {});
      const called = await ask(3, 'tools/call', { name: 'get_status', arguments: {} });
      assert.ok(called.result && called.result.isError !== true, JSON.stringify(called));
      return result.tools.map((tool) => tool.name);
    },
    async close() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
