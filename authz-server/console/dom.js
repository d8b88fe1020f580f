// Elements. Whatever comes from the server becomes text or the value of a harmless attribute: nothing here parses markup,
// and the page's policy (Trusted Types) lets nothing else do so either.

const SVG = 'http://www.w3.org/2000/svg';
const ATTRIBUTES = new Set([
  'class', 'id', 'type', 'name', 'value', 'for', 'role', 'tabindex', 'scope', 'colspan', 'rows', 'placeholder', 'autocomplete',
  'spellcheck', 'pattern', 'min', 'max', 'step', 'title', 'datetime', 'open', 'lang', 'inputmode', 'maxlength', 'download',
  'd', 'x', 'y', 'x1', 'x2', 'y1', 'y2', 'cx', 'cy', 'r', 'points', 'viewBox', 'width', 'height', 'transform', 'text-anchor',
  'focusable', 'preserveAspectRatio', 'vector-effect', 'dominant-baseline',
]);
const FLAGS = new Set(['hidden', 'disabled', 'checked', 'required', 'selected', 'readonly', 'autofocus', 'novalidate']);

// `h('a', { href: '#/clients' }, 'Clients')`. A function under `onclick` and the like becomes a listener.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// The same of SVG.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function' && name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'href') setAddress(element, value);
    else if (FLAGS.has(name)) element.toggleAttribute(name, true);
    else if (ATTRIBUTES.has(name) || /^(aria|data)-[a-z-]+$/.test(name)) element.setAttribute(name, value);
    else throw new TypeError(`no attribute ${name}`);
  }
  put(element, ...children);
  return element;
}

// A view of this page, or a page of this server. An address that a client wrote is shown as text and is no link.
function setAddress(element, value) {
  if (!/^(#|\/(?!\/)|blob:)/.test(value)) throw new TypeError('no address of ours');
  element.setAttribute('href', value);
}

// Appends: elements as they are, everything else as text; nothing for what is absent.
export function put(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

// Puts `children` in the place of whatever is in `element`.
export function show(element, ...children) {
  element.replaceChildren();
  return put(element, ...children);
}

// Tells what has happened to whoever sees and to whoever listens.
let silence;
export function say(sentence, isBad = false) {
  const place = document.getElementById('said');
  clearTimeout(silence);
  show(place, h('p', { class: isBad ? 'alert' : 'notice' }, sentence));
  silence = setTimeout(() => show(place), isBad ? 12_000 : 6_000);
}

let ids = 0;
export function newId(word) {
  ids += 1;
  return `${word}-${ids}`;
}
