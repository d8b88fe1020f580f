// An MCP server on stdio that does what a test of streams needs. `wait` tells of its progress and then answers when `go` is
// called; `grow` adds a tool, of which everybody who listens is told.

import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';

const server = new McpServer({ name: 'waiting', version: '0.1.0' });
const text = (said) => ({ content: [{ type: 'text', text: said }] });
let waiting = [];
let grown = 0;

server.registerTool('wait', { description: 'Waits for go' }, async ({ _meta: meta, sendNotification }) => {
  const gone = new Promise((resolve) => {
    waiting.push(resolve);
  });
  if (meta?.progressToken !== undefined) {
    await sendNotification({ method: 'notifications/progress', params: { progressToken: meta.progressToken, progress: 1 } });
  }
  await gone;
  return text('gone');
});

server.registerTool('go', { description: 'Lets go whoever waits' }, () => {
  for (const resolve of waiting) resolve();
  waiting = [];
  return text('go');
});

server.registerTool('grow', { description: 'Adds a tool' }, () => {
  grown += 1;
  server.registerTool(`grown-${grown}`, { description: 'Does nothing' }, () => text('grown'));
  return text('grown');
});

await server.connect(new StdioServerTransport());
