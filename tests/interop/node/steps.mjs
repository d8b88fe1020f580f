// What the scripts share: where they start from, how they tell a step, and a fetch that tells its requests.

import assert from 'node:assert/strict';

export { assert };

// The three things that a script starts from; without one of them it stops with exit code 2.
export function start() {
  const missing = ['NODE_URL', 'CLIENT_ID', 'CLIENT_SECRET'].filter((name) => !process.env[name]);
  if (missing.length > 0) {
    console.error(`missing in the environment: ${missing.join(', ')}`);
    process.exit(2);
  }
  const { NODE_URL, CLIENT_ID, CLIENT_SECRET } = process.env;
  return { nodeUrl: new URL(NODE_URL), clientId: CLIENT_ID, clientSecret: CLIENT_SECRET };
}

// Runs one step and tells its outcome; what it returns is returned. A step that throws ends the script with exit code 1.
export async function step(name, action) {
  try {
    const { told, ...outcome } = (await action()) ?? {};
    console.log(`ok    ${name}${told ? `: ${told}` : ''}`);
    return outcome;
  } catch (error) {
    console.log(`FAIL  ${name}`);
    console.error(error);
    process.exit(1);
  }
}

// A fetch that prints each request with the status of its answer, and keeps the list.
export function tellingFetch() {
  const requests = [];
  const fetchAndTell = async (url, init) => {
    const answer = await fetch(url, init);
    const request = `${init?.method ?? 'GET'} ${url} ${answer.status}`;
    requests.push(request);
    console.log(`        ${request}`);
    return answer;
  };
  return { fetch: fetchAndTell, requests };
}
