// The configuration as it runs, and the policies in it. It is changed where the server runs; secrets are in files.

import { all, offered } from '../api.js';
import { h, show as place } from '../dom.js';
import { badge, card, code, facts, field, heading, row } from '../parts.js';
import { base } from '../signin.js';

const COLUMNS = [
  ['Key', ({ key }) => code(key)],
  ['Value', ({ value }) => code(value)],
  ['From', ({ source }) => badge(source, source === 'default' ? '' : 'good')],
];

export async function show() {
  const settings = await all('listSettings', {});
  const policies = offered('listPolicies') ? await all('listPolicies', {}) : [];
  const body = h('tbody', { role: 'rowgroup' });
  const told = h('p', { class: 'hint', role: 'status' });
  const choose = (text) => {
    const found = settings.filter(({ key, value, source }) => `${key} ${value} ${source}`.toLowerCase().includes(text.toLowerCase()));
    place(body, found.map((setting) => row(COLUMNS, setting)));
    place(told, `${found.length} of ${settings.length}`);
  };
  choose('');
  const search = field('Find', 'find', { placeholder: 'tokens., environment, …' });
  search.querySelector('input').addEventListener('input', ({ target }) => choose(target.value.trim()));
  const head = h('tr', { role: 'row' }, COLUMNS.map(([title]) => h('th', { scope: 'col', role: 'columnheader' }, title)));
  return [
    heading('Settings', 'What this instance runs with, and where each value comes from.'),
    card(null, search, told, h('div', { class: 'list' }, h('table', { role: 'table', 'aria-label': 'Settings' }, h('thead', { role: 'rowgroup' }, head), body))),
    offered('listPolicies') && card('Policies', policies.length === 0
      ? h('p', { class: 'quiet' }, 'None: no exchange, no workload, no identity provider.')
      : policies.map(({ kind, index, values }) => h('div', {}, h('h3', {}, `${kind.replaceAll('_', ' ')} ${index}`),
        facts(Object.entries(values).map(([name, value]) => [name, code(value)]))))),
    h('p', { class: 'hint' }, 'Everything here is asked of the API, which can be tried ', h('a', { href: `${base}/admin/explorer` }, 'by hand'), '.'),
  ];
}
