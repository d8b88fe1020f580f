// Small plots, drawn as SVG. Each has its figures in words too, for who cannot see it.

import { h, newId, svg } from './dom.js';
import { minute } from './time.js';

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [520, 150, 44, 20, 8];

// A round number not below `value`: 1, 2 or 5 times a power of ten.
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= value);
}

function short(value) {
  if (value >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
  if (value >= 1e3) return `${+(value / 1e3).toFixed(1)}k`;
  return String(+value.toPrecision(3));
}

// Lines over time. `series` are { name, values: [[unix seconds, number], …] }, at most six.
export function lines(title, series, { unit = '', empty = 'Nothing yet.' } = {}) {
  const points = series.flatMap(({ values }) => values);
  const times = points.map(([at]) => at);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const name = newId('plot');
  const figure = (...children) => h('figure', { class: 'plot', 'aria-labelledby': name }, h('figcaption', { id: name }, title), children);
  if (points.length === 0 || to <= from) return figure(h('p', { class: 'quiet' }, empty));
  const most = ceiling(Math.max(...points.map(([, value]) => value)));
  const x = (at) => LEFT + ((at - from) / (to - from)) * (WIDTH - LEFT - 6);
  const y = (value) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
  const grid = [0, 0.5, 1].flatMap((part) => [
    svg('line', { class: 'rule', x1: LEFT, x2: WIDTH - 6, y1: y(part * most), y2: y(part * most) }),
    svg('text', { class: 'figure', x: LEFT - 6, y: y(part * most), 'text-anchor': 'end', 'dominant-baseline': 'middle' }, short(part * most)),
  ]);
  const marks = [svg('text', { class: 'figure', x: LEFT, y: HEIGHT - 4 }, minute(from)),
    svg('text', { class: 'figure', x: WIDTH - 6, y: HEIGHT - 4, 'text-anchor': 'end' }, minute(to))];
  const drawn = series.map(({ values }, place) => svg('polyline', {
    class: `line line-${place % 6}`, points: values.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(' '),
  }));
  const last = series.map(({ name: label, values }, place) => {
    const value = values.at(-1)?.[1] ?? 0;
    return h('li', {}, key(place), h('span', {}, label), h('strong', {}, `${short(value)}${unit}`));
  });
  return figure(
    svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, 'aria-hidden': 'true', focusable: 'false' }, grid, marks, drawn),
    h('ul', { class: 'legend' }, last),
  );
}

function key(place) {
  return svg('svg', { class: 'key', viewBox: '0 0 10 10', width: '10', height: '10', 'aria-hidden': 'true', focusable: 'false' },
    svg('circle', { class: `dot dot-${place % 6}`, cx: 5, cy: 5, r: 5 }));
}

// One bar for each: [name, number, what stands behind it].
export function bars(title, all, { empty = 'Nothing yet.', link } = {}) {
  const name = newId('plot');
  const caption = h('figcaption', { id: name }, title);
  if (all.length === 0) return h('figure', { class: 'plot', 'aria-labelledby': name }, caption, h('p', { class: 'quiet' }, empty));
  const most = Math.max(...all.map(([, value]) => value), 1);
  const rows = all.map(([label, value, told]) => h('li', {},
    h('span', { class: 'label' }, link ? link(label) : label),
    svg('svg', { class: 'bar', viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true', focusable: 'false' },
      svg('rect', { class: 'rest', x: 0, y: 0, width: 100, height: 8 }),
      svg('rect', { class: 'full', x: 0, y: 0, width: Math.max((value / most) * 100, value > 0 ? 1 : 0).toFixed(2), height: 8 })),
    h('strong', {}, told ?? short(value))));
  return h('figure', { class: 'plot', 'aria-labelledby': name }, caption, h('ul', { class: 'bars' }, rows));
}

export function tile(title, value, more) {
  return h('div', { class: 'tile' }, h('dt', {}, title), h('dd', {}, h('strong', {}, value), more && h('span', { class: 'sub' }, more)));
}
