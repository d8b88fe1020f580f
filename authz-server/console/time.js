// Instants and spans, as people read them. Server time is what counts: the clocks of browsers go wrong.

let offset = 0;

// Notes the server's clock from an answer of it.
export function noteClock(answer) {
  const date = Date.parse(answer.headers.get('date') ?? '');
  if (Number.isFinite(date)) offset = date - Date.now();
}

// Unix seconds, as the server has them to within a second or two.
export function now() {
  return Math.floor((Date.now() + offset) / 1000);
}

const DAY = 86_400;
const UNITS = [['year', 365 * DAY], ['month', 30 * DAY], ['day', DAY], ['hour', 3600], ['minute', 60], ['second', 1]];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const whole = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const clockTime = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });

// "3 minutes ago", "in 2 days".
export function ago(at) {
  const span = at - now();
  const [unit, seconds] = UNITS.find(([, size]) => Math.abs(span) >= size) ?? UNITS.at(-1);
  return relative.format(Math.trunc(span / seconds), unit);
}

// "27 Nov 2026, 23:40:12", in the browser's zone.
export function date(at) {
  return whole.format(new Date(at * 1000));
}

export function iso(at) {
  return new Date(at * 1000).toISOString();
}

// "23:40".
export function minute(at) {
  return clockTime.format(new Date(at * 1000));
}

// "2 days", "1 hour".
export function span(seconds) {
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? UNITS.at(-1);
  const count = Math.trunc(seconds / size);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
