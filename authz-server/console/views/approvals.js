// Questions of nodes that wait for a person. Answered by that person, on the page whose address the node gives them.

import { card, code, heading, listing, at, address, link } from '../parts.js';

export async function show() {
  const list = await listing('listApprovals', {}, [
    ['Asked', (question) => at(question.created_at)],
    ['Node', (question) => (question.node_id ? link(address(['fleet', question.node_id]), question.node ?? question.node_id) : question.node)],
    ['Tool', (question) => code(question.tool)],
    ['For', (question) => (question.user_id ? link(address(['users', question.user_id]), question.user_id) : '–')],
    ['Through', (question) => (question.client_id ? link(address(['clients', question.client_id]), question.client_id) : '–')],
    ['Ends', (question) => at(question.expires_at)],
  ], { none: 'Nothing waits for anybody.', label: 'Approvals waiting' });
  return [heading('Approvals', 'Tool calls that wait for a person\'s yes.'), card(null, list)];
}
