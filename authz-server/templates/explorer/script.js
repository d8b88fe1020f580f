// Every operation of the document as a form. Text of the server and of others becomes text, and never markup.
'use strict';

const base = location.pathname.replace(/\/admin\/explorer$/, '');
const main = document.getElementById('operations');

const make = (name, members = {}, ...children) => {
  const element = Object.assign(document.createElement(name), members);
  element.append(...children);
  return element;
};

// An id that is an address stands in a path as ~ and its base64url.
const pathOf = (id) => {
  if (/^[A-Za-z0-9._-]+$/.test(id) && id !== '.' && id !== '..') return id;
  const bytes = String.fromCharCode(...new TextEncoder().encode(id));
  return '~' + btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};

const resolved = (schema, components) => {
  const name = schema && schema.$ref && schema.$ref.split('/').pop();
  return name ? components[name] : schema || {};
};

// What can be said, each member with what it is for.
const members = (schema, components) => {
  const known = resolved(schema, components);
  const parts = (known.allOf || []).flatMap((part) => members(part, components));
  return parts.concat(Object.entries(known.properties || {}));
};

const field = (parameter, prefix) => {
  const id = `${prefix}-${parameter.in}-${parameter.name}`;
  const words = parameter.schema && parameter.schema.enum;
  const input = words
    ? make('select', { id }, make('option', { value: '' }), ...words.map((word) => make('option', { value: word }, word)))
    : make('input', { id, autocomplete: 'off', spellcheck: false });
  input.required = Boolean(parameter.required);
  if (parameter.name === 'If-Match') input.value = '*';
  const what = parameter.description ? ` ${parameter.description}` : '';
  const label = make('label', { htmlFor: id }, parameter.name, make('small', {}, what));
  return { parameter, input, nodes: [label, input] };
};

const send = async (method, path, fields, body) => {
  const headers = { Authorization: `Bearer ${document.getElementById('token').value.trim()}` };
  const query = new URLSearchParams();
  for (const { parameter, input } of fields) {
    if (input.value === '') continue;
    if (parameter.in === 'path') path = path.replace(`{${parameter.name}}`, pathOf(input.value));
    else if (parameter.in === 'query') query.append(parameter.name, input.value);
    else headers[parameter.name] = input.value;
  }
  if (body) headers['Content-Type'] = 'application/json';
  const at = base + path + (query.size ? `?${query}` : '');
  const answer = await fetch(at, { method, headers, body: body && body.value, credentials: 'omit' });
  const text = await answer.text();
  const shown = ['etag', 'location', 'retry-after', 'www-authenticate']
    .filter((name) => answer.headers.has(name))
    .map((name) => `${name}: ${answer.headers.get(name)}`);
  let pretty = text;
  try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* It is shown as it is. */ }
  return { isGood: answer.ok, text: [`${method} ${at}`, `${answer.status} ${answer.statusText}`, ...shown, '', pretty].join('\n') };
};

const operation = (path, method, entry, components) => {
  const fields = (entry.parameters || []).map((parameter) => field(parameter, entry.operationId));
  const form = make('form', {}, ...fields.flatMap(({ nodes }) => nodes));
  let body = null;
  const takes = entry.requestBody && entry.requestBody.content['application/json'];
  if (takes) {
    const known = members(takes.schema, components);
    const id = `${entry.operationId}-body`;
    body = make('textarea', { id, value: '{\n}', spellcheck: false });
    const list = known.map(([name, schema]) => make('li', {}, make('code', {}, name), ` ${resolved(schema, components).description || ''}`));
    form.append(make('label', { htmlFor: id }, 'Body'), body, make('ul', {}, ...list));
  }
  const result = make('pre', { hidden: true, tabIndex: 0 });
  form.append(make('button', { type: 'submit' }, 'Send'), result);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    result.hidden = false;
    result.textContent = '…';
    try {
      const answer = await send(method.toUpperCase(), path, fields, body);
      result.textContent = answer.text;
      result.classList.toggle('refused', !answer.isGood);
    } catch (fault) {
      result.textContent = `No answer: ${fault.message}`;
      result.classList.add('refused');
    }
  });
  const summary = make('summary', {}, make('code', {}, `${method.toUpperCase()} ${path}`), entry.summary);
  const scopes = (entry.security || []).flatMap((one) => Object.values(one).flat());
  return make('details', {}, summary, make('p', {}, `Needs ${scopes.join(' or ')}`), form);
};

const show = (api) => {
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, entry] of Object.entries(item)) {
      const tag = entry.tags[0];
      if (!groups.has(tag)) groups.set(tag, make('section', {}, make('h2', {}, tag)));
      groups.get(tag).append(operation(path, method, entry, api.components.schemas));
    }
  }
  main.replaceChildren(...groups.values());
};

document.getElementById('who').addEventListener('submit', (event) => event.preventDefault());
document.getElementById('find').addEventListener('input', (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const section of main.querySelectorAll('section')) {
    let found = 0;
    for (const one of section.querySelectorAll('details')) {
      const text = one.querySelector('summary').textContent.toLowerCase() + section.firstChild.textContent;
      one.hidden = !words.every((word) => text.includes(word));
      found += one.hidden ? 0 : 1;
    }
    section.hidden = found === 0;
  }
});
fetch(`${base}/admin/openapi.json`, { credentials: 'omit' })
  .then((answer) => answer.json())
  .then(show)
  .catch((fault) => main.replaceChildren(make('p', {}, `The document cannot be read: ${fault.message}`)));
