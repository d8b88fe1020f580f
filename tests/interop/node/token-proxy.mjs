// A reverse proxy on loopback that adds an access token to every request.
//
// The official conformance suite cannot send tokens, and a node serves nothing without one. Apart from `Authorization`
// nothing is changed: Host, Origin and every other header go through as they came, bodies are streamed both ways, and a
// caller that hangs up is hung up on at the other side too.
//
//   node token-proxy.mjs --target http://127.0.0.1:8080 --token-file FILE [--port 0]
//
// Prints one line, `listening on http://127.0.0.1:PORT`, and runs until it is stopped.

import { readFileSync } from 'node:fs';
import { createServer, request as send } from 'node:http';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    target: { type: 'string' },
    'token-file': { type: 'string' },
    port: { type: 'string', default: '0' },
  },
});
if (!options.target || !options['token-file']) {
  console.error('usage: token-proxy.mjs --target URL --token-file FILE [--port N]');
  process.exit(2);
}

const target = new URL(options.target);
const token = readFileSync(options['token-file'], 'utf8').trim();
const ofOneConnection = new Set(['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

const proxy = createServer((incoming, answer) => {
  const outgoing = send({
    hostname: target.hostname,
    port: target.port,
    method: incoming.method,
    path: incoming.url,
    headers: [...endToEnd(incoming.rawHeaders), 'Authorization', `Bearer ${token}`],
    setHost: false,
  });
  outgoing.on('response', (response) => {
    answer.writeHead(response.statusCode, response.statusMessage, endToEnd(response.rawHeaders));
    answer.flushHeaders();
    response.pipe(answer);
    response.on('error', () => answer.destroy());
  });
  outgoing.on('error', (error) => {
    if (answer.headersSent) return answer.destroy();
    answer.writeHead(502, { 'Content-Type': 'text/plain' });
    answer.end(`The node cannot be reached: ${error.message}\n`);
  });
  answer.on('close', () => outgoing.destroy());
  incoming.pipe(outgoing);
});

proxy.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${proxy.address().port}`);
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => process.exit(0));
}

// The headers that are not of one connection only (RFC 9110 §7.6.1), without any credentials of the caller.
function endToEnd(rawHeaders) {
  const kept = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i].toLowerCase();
    if (!ofOneConnection.has(name) && name !== 'authorization') kept.push(rawHeaders[i], rawHeaders[i + 1]);
  }
  return kept;
}
