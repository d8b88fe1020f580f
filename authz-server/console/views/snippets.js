// Lines that use a new client: with curl, and with the official MCP SDKs.

import { issuer } from '../signin.js';

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';

// A word of the shell, whatever is in it.
export function quoted(text) {
  return `'${String(text).replaceAll("'", "'\\''")}'`;
}

// [name, lines] for each way. `resource` is the one it is used with.
export function ways(client, resource = 'https://node.example/mcp') {
  const has = (grant) => client.grant_types.includes(grant);
  if (has('client_credentials') && client.client_secret) return alone(client, resource);
  if (has(DEVICE)) return [['curl', device(client, resource)]];
  if (has('authorization_code')) return forPeople(client, resource);
  return [['curl', `# ${client.client_id} signs an assertion with its key (RFC 7523); docs: clients.md`]];
}

function alone({ client_id: id, client_secret: word }, resource) {
  return [
    ['curl', `curl -s -u ${quoted(`${id}:${word}`)} ${quoted(`${issuer()}/oauth/token`)} \\
  -d grant_type=client_credentials --data-urlencode ${quoted(`resource=${resource}`)}

# then, with the access_token of that answer
curl -s ${quoted(`${resource}/tools/call`)} -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' -d '{"name":"get_status","arguments":{}}'`],
    ['TypeScript', `import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const authProvider = new ClientCredentialsProvider({
  clientId: ${JSON.stringify(id)},
  clientSecret: process.env.CLIENT_SECRET,
  expectedIssuer: ${JSON.stringify(issuer())},
});
const transport = new StreamableHTTPClientTransport(new URL(${JSON.stringify(resource)}), { authProvider });
const client = new Client({ name: 'my-agent', version: '1.0.0' });
await client.connect(transport);
console.log(await client.listTools());`],
    ['Python', `import asyncio, os, httpx2
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client

URL = ${JSON.stringify(resource)}

async def main(storage):  # your TokenStorage
    auth = ClientCredentialsOAuthProvider(
        server_url=URL, storage=storage, client_id=${JSON.stringify(id)},
        client_secret=os.environ["CLIENT_SECRET"], issuer=${JSON.stringify(issuer())})
    async with httpx2.AsyncClient(auth=auth) as http:
        async with Client(streamable_http_client(URL, http_client=http)) as client:
            print(await client.list_tools())`],
  ];
}

function device({ client_id: id, client_secret: word }, resource) {
  const who = word ? `-u ${quoted(`${id}:${word}`)}` : `-d client_id=${id}`;
  return `# shows the code that a person enters
curl -s ${who} ${quoted(`${issuer()}/oauth/device_authorization`)} --data-urlencode ${quoted(`resource=${resource}`)}

# then, every few seconds, until it answers with tokens
curl -s ${who} ${quoted(`${issuer()}/oauth/token`)} \\
  -d grant_type=${DEVICE} -d device_code="$DEVICE_CODE"`;
}

function forPeople({ client_id: id, redirect_uris: [redirect] = [] }, resource) {
  return [
    ['TypeScript', `import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

// An OAuthClientProvider of yours, whose clientInformation() returns
//   { client_id: ${JSON.stringify(id)} }
// and whose redirectUrl is ${JSON.stringify(redirect ?? '')}
const transport = new StreamableHTTPClientTransport(new URL(${JSON.stringify(resource)}), { authProvider });
await new Client({ name: 'my-app', version: '1.0.0' }).connect(transport);`],
    ['curl', `# open in a browser; CHALLENGE is the base64url of the SHA-256 of VERIFIER
${issuer()}/oauth/authorize?response_type=code&client_id=${id}&redirect_uri=${encodeURIComponent(redirect ?? '')}&resource=${encodeURIComponent(resource)}&code_challenge_method=S256&code_challenge=$CHALLENGE&state=$STATE

# then, with the code of the redirect
curl -s ${quoted(`${issuer()}/oauth/token`)} -d grant_type=authorization_code -d client_id=${id} \\
  --data-urlencode ${quoted(`redirect_uri=${redirect ?? ''}`)} -d code="$CODE" -d code_verifier="$VERIFIER"`],
  ];
}
