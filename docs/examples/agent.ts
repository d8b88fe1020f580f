// An agent that knows a node's address and its own credentials: discovery, client_credentials, a tool call.
//
// npm install @modelcontextprotocol/client; then (Node 22.18 or newer runs TypeScript as it is)
// CLIENT_ID=… CLIENT_SECRET=… node agent.ts http://localhost:8080/mcp get_status

import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [node, tool, args = '{}'] = process.argv.slice(2);
const { CLIENT_ID, CLIENT_SECRET, ISSUER = 'http://localhost:9000' } = process.env;

const authProvider = new ClientCredentialsProvider({
  clientId: CLIENT_ID!,
  clientSecret: CLIENT_SECRET!,
  expectedIssuer: ISSUER, // your secret goes there and nowhere else
});
const client = new Client({ name: 'my-agent', version: '1.0.0' });
await client.connect(new StreamableHTTPClientTransport(new URL(node), { authProvider }));

type Text = { type: string; text: string };
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) });
console.log((result.content as Text[])[0].text);
await client.close();
