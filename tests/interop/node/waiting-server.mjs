// An MCP server on stdio that does what a test of streams needs. `wait` tells of its progress when `tell` is called and answers
// when `go` is; `there` answers when somebody waits. `grow` adds a tool, of which everybody who listens is told.

import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';

const server = new McpServer({ name: 'waiting', version: '0.1.0' });
const text = (said) => ({ content: [{ type: 'text', text: said }] });
let grown = 0;
// Calls of `wait`, and of `there` that came before them.
const waiting = new Set();
let early = [];

server.registerTool('wait', { description: 'Waits for go' }, async ({ _meta: meta, sendNotification }) => {
  const params = { progressToken: meta?.progressToken, progress: 1 };
  await new Promise((go) => {
    waiting.add({ go, tell: () => sendNotification({ method: 'notifications/progress', params }) });
    for (const come of early) come();
    early = [];
  });
  return text('gone');
});

server.registerTool('there', { description: 'Answers when somebody waits' }, async () => {
  if (waiting.size === 0) {
    await new Promise((come) => {
      early.push(come);
    });
  }
  return text('there');
});

server.registerTool('tell', { description: 'Lets whoever waits tell of its progress' }, async () => {
  for (const { tell } of waiting) await tell();
  return text('told');
});

server.registerTool('go', { description: 'Lets go whoever waits' }, () => {
  for (const { go } of waiting) go();
  waiting.clear();
  return text('go');
});

server.registerTool('grow', { description: 'Adds a tool' }, () => {
  grown += 1;
  server.registerTool(`grown-${grown}`, { description: 'Does nothing' }, () => text('grown'));
  return text('grown');
});

await server.connect(new StdioServerTransport());
