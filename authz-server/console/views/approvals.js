// Tool calls that wait for a person's yes: those for any administrator, and those for whoever is signed in here.

import { ask, offered } from '../api.js';
import { h, say } from '../dom.js';
import { address, at, button, card, code, facts, heading, link } from '../parts.js';

export async function show({ may, again }) {
  const { body } = await ask('listApprovals');
  const canDecide = offered('decideApproval') && may('write');
  return [
    heading('Approvals', 'Tool calls that wait for a person\'s yes.', button('Look again', again)),
    body.items.length === 0 && card(null, h('p', { class: 'quiet' }, 'Nothing waits for you.')),
    body.items.map((call) => question(call, canDecide, again)),
    body.next_cursor && h('p', { class: 'hint' }, 'There are more: these first.'),
  ];
}

function question(call, canDecide, again) {
  const decide = (decision, sentence) => async () => {
    await ask('decideApproval', { id: call.approval_id, body: { decision } });
    say(sentence);
    again();
  };
  return card(call.tool,
    h('p', { class: 'quiet' }, call.summary),
    facts([
      ['Node', link(address(['fleet', call.node_id]), call.node_name)],
      ['For', code(call.resource)],
      ['Who calls', [code(call.caller_sub), ' through ', code(call.caller_client), h('span', { class: 'sub' }, call.caller_iss)]],
      ['Whose yes counts', call.user_id ? link(address(['users', call.user_id]), call.user_id) : 'any administrator\'s'],
      ['Asked', at(call.created_at)],
      ['Over', at(call.expires_at)],
    ]),
    h('h3', {}, 'Exactly what will be called'),
    h('pre', { class: 'arguments', tabindex: '0', 'aria-label': 'Arguments' }, JSON.stringify(call.arguments, null, 2)),
    canDecide && h('div', { class: 'buttons' },
      button('Allow it once', decide('approved', 'The call is allowed, once.'), { kind: 'primary', label: `Allow it once: ${call.tool}` }),
      button('Deny', decide('denied', 'The call is denied.'), { kind: 'plain', label: `Deny: ${call.tool}` })));
}
