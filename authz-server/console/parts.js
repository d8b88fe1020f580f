// What views are put together from.

import { ask } from './api.js';
import { h, newId, put, say, show } from './dom.js';
import { ago, date, iso } from './time.js';

// The heading of a view, with what can be done there.
export function heading(title, lead, ...actions) {
  return h('div', { class: 'head' },
    h('div', {}, h('h1', { tabindex: '-1' }, title), lead && h('p', { class: 'lead' }, lead)),
    actions.length > 0 && h('div', { class: 'buttons' }, actions));
}

export function card(title, ...children) {
  return h('section', { class: 'card' }, title && h('h2', {}, title), children);
}

// An instant: how long ago, with the whole of it for who points at it.
export function at(seconds, otherwise = '–') {
  if (seconds === undefined || seconds === null) return h('span', { class: 'quiet' }, otherwise);
  return h('time', { datetime: iso(seconds), title: date(seconds) }, ago(seconds));
}

export function badge(word, kind = '') {
  return h('span', { class: `badge ${kind}` }, word);
}

export function code(text) {
  return h('code', {}, text);
}

// Words that are separated by spaces, each as a code.
export function words(text) {
  const all = Array.isArray(text) ? text : (text ?? '').split(' ').filter(Boolean);
  if (all.length === 0) return h('span', { class: 'quiet' }, 'none');
  return h('ul', { class: 'words' }, all.map((word) => h('li', {}, code(word))));
}

export function link(view, text) {
  return h('a', { href: `#/${view}` }, text);
}

// The address of a view: parts of the path, and what it is filtered by.
export function address(parts, query = {}) {
  const path = parts.map(encodeURIComponent).join('/');
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return search.size > 0 ? `${path}?${search}` : path;
}

export function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.filter(Boolean).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

// A button that cannot be pressed twice while its work goes on; a refusal is told.
export function button(text, action, { kind = 'plain small', label } = {}) {
  const element = h('button', { type: 'button', class: kind, 'aria-label': label, onclick: () => busy(element, action) }, text);
  return element;
}

export async function busy(element, action) {
  if (element.getAttribute('aria-busy') === 'true') return undefined;
  element.setAttribute('aria-busy', 'true');
  element.disabled = true;
  try {
    return await action();
  } catch (refusal) {
    say(refusal.message, true);
    return undefined;
  } finally {
    element.removeAttribute('aria-busy');
    element.disabled = false;
  }
}

// A field with its label. `options` makes it a choice.
export function field(label, name, { hint, options, value, rows, ...attributes } = {}) {
  const id = newId(name);
  const about = hint && `${id}-hint`;
  const common = { id, name, 'aria-describedby': about, ...attributes };
  let input;
  if (options) {
    input = h('select', common, options.map(([word, text]) => h('option', { value: word, selected: word === value }, text)));
  } else if (rows) {
    input = h('textarea', { rows, spellcheck: 'false', ...common }, value ?? '');
  } else {
    input = h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', value, ...common });
  }
  return h('div', { class: 'field' }, h('label', { for: id }, label), input, hint && h('p', { class: 'hint', id: about }, hint));
}

export function tick(label, name, isOn = false, hint = undefined) {
  const id = newId(name);
  return h('div', { class: 'field' },
    h('label', { class: 'tick' }, h('input', { type: 'checkbox', id, name, checked: isOn }), h('span', {}, label, hint && h('span', { class: 'sub' }, hint))));
}

// A form that is answered here. `action` gets its fields; what refuses it is told in the form, where the focus goes.
export function form(children, submit, action, { cancel } = {}) {
  const fault = h('div', { role: 'alert' });
  const send = h('button', { type: 'submit', class: 'primary' }, submit);
  const element = h('form', {
    onsubmit: async (event) => {
      event.preventDefault();
      if (send.disabled) return;
      send.disabled = true;
      send.setAttribute('aria-busy', 'true');
      show(fault);
      try {
        await action(Object.fromEntries(new FormData(element)), element);
      } catch (refusal) {
        show(fault, h('p', { class: 'alert', tabindex: '-1' }, refusal.message));
        fault.firstChild.focus();
      } finally {
        send.disabled = false;
        send.removeAttribute('aria-busy');
      }
    },
  }, children, fault, h('div', { class: 'buttons' }, send, cancel));
  return element;
}

// Asks in a dialogue. `build(close)` gives what is in it; the focus comes back to where it was.
export function dialogue(title, build) {
  const before = document.activeElement;
  const name = newId('dialogue');
  const box = h('dialog', { 'aria-labelledby': name, onclose: () => { box.remove(); before?.focus?.(); } });
  put(box, h('h2', { id: name, tabindex: '-1' }, title), build(() => box.close()));
  document.body.append(box);
  box.showModal();
  box.querySelector('input:not([type=hidden]), select, textarea')?.focus();
  return box;
}

// Asks whether it is meant, then does it.
export function confirm(title, sentence, word, action) {
  dialogue(title, (close) => [
    h('p', {}, sentence),
    form([], word, async () => {
      await action();
      close();
    }, { cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Leave it') }),
  ]);
}

export function copyButton(text, what) {
  return button('Copy', async () => {
    await navigator.clipboard.writeText(text);
    say(`Copied: ${what}.`);
  }, { label: `Copy ${what}` });
}

// Something that is shown once and never again.
export function secret(what, text) {
  return h('div', { class: 'once' }, h('div', { class: 'row' }, h('code', { class: 'value' }, text), copyButton(text, what)));
}

// Lines to paste, one tab for each way.
export function snippets(all) {
  const panel = h('pre', { class: 'arguments', tabindex: '0', role: 'tabpanel', id: newId('lines') });
  const copy = h('div', {});
  const tabs = h('div', { role: 'tablist', class: 'tabs', 'aria-label': 'Ways to use it' });
  const choose = (index, hasFocus) => {
    const [name, text] = all[index];
    [...tabs.children].forEach((tab, place) => {
      tab.setAttribute('aria-selected', String(place === index));
      tab.tabIndex = place === index ? 0 : -1;
    });
    panel.setAttribute('aria-labelledby', tabs.children[index].id);
    show(panel, text);
    show(copy, copyButton(text, `the ${name} lines`));
    if (hasFocus) tabs.children[index].focus();
  };
  all.forEach(([name], index) => put(tabs, h('button', {
    type: 'button', role: 'tab', id: newId('tab'), 'aria-controls': panel.id, class: 'plain small', onclick: () => choose(index),
    onkeydown: ({ key }) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (move) choose((index + move + all.length) % all.length, true);
    },
  }, name)));
  choose(0);
  return h('div', {}, h('div', { class: 'row' }, tabs, copy), panel);
}

// A list of the API, page by page. `columns` are [title, cell of a row]; `none` is said when there is nothing.
export function listing(operation, query, columns, { none, items = (body) => body.items, label }) {
  const rows = h('tbody', { role: 'rowgroup' });
  const head = h('tr', { role: 'row' }, columns.map(([title]) => h('th', { scope: 'col', role: 'columnheader' }, title || h('span', { class: 'away' }, 'What can be done'))));
  const table = h('table', { role: 'table', 'aria-label': label, class: columns.length > 6 ? 'many' : undefined }, h('thead', { role: 'rowgroup' }, head), rows);
  const foot = h('div', { class: 'foot' });
  const place = h('div', { class: 'list' });
  let cursor;
  let count = 0;
  const load = async (isFirst) => {
    const { body } = await ask(operation, { query: { ...query, cursor } });
    const found = items(body);
    cursor = body.next_cursor;
    const made = found.map((item) => row(columns, item));
    put(rows, made);
    count += found.length;
    if (count === 0) {
      show(place, h('p', { class: 'quiet' }, none));
      return;
    }
    if (isFirst) show(place, table, foot);
    const more = cursor && button('Show more', () => load(false));
    show(foot, h('p', { class: 'hint', role: 'status' }, cursor ? `${count} so far` : `${count} in all`), more);
    // Whoever goes by keyboard goes on where the new rows begin.
    if (!isFirst) made[0]?.querySelector('a, button')?.focus();
  };
  return load(true).then(() => place);
}

export function row(columns, item) {
  return h('tr', { role: 'row' }, columns.map(([title, cell]) => h('td', { role: 'cell', 'data-label': title }, cell(item))));
}

// A bar of filters: changing one goes to the same view with it.
export function filters(fields, current, go) {
  const element = h('form', {
    class: 'filters',
    role: 'search',
    onsubmit: (event) => {
      event.preventDefault();
      go(Object.fromEntries([...new FormData(element)].map(([name, value]) => [name, value.trim()])));
    },
    onchange: ({ target }) => {
      if (target.tagName === 'SELECT') element.requestSubmit();
    },
  }, fields, h('button', { type: 'submit', class: 'plain small' }, 'Show'),
  Object.values(current).some(Boolean) && h('button', { type: 'button', class: 'link', onclick: () => go({}) }, 'Clear'));
  return element;
}

// Work that takes its time: how far it is, and a way to stop it.
export function progress(sentence) {
  const bar = h('progress', { 'aria-label': sentence });
  const words = h('p', { class: 'status', role: 'status' }, sentence);
  const element = h('div', { class: 'progress' }, words, bar);
  let isStopped = false;
  put(element, button('Stop', () => { isStopped = true; }));
  return {
    element,
    tell: (text, part) => {
      show(words, text);
      if (part !== undefined) bar.value = part;
      return !isStopped;
    },
    isStopped: () => isStopped,
  };
}
