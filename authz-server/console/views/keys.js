// Signing keys: what signs, what will, and until when what signed before is published.

import { ask, offered } from '../api.js';
import { h, say } from '../dom.js';
import { at, badge, button, card, code, confirm, dialogue, field, form, heading, listing } from '../parts.js';

const STATES = { current: 'good', next: '', retired: 'bad' };
const WAYS = [
  ['planned', 'as planned: it signs when everybody can know it'],
  ['now', 'now: it signs at once, the old one stays published'],
  ['compromised', 'the key is lost: every other one is gone, with all that it signed'],
];

export async function show({ may, again }) {
  const canRemove = offered('removeKey') && may('write');
  const list = await listing('listKeys', {}, [
    ['Key', (key) => code(key.kid)],
    ['Algorithm', (key) => key.alg],
    ['State', (key) => badge(key.state, STATES[key.state])],
    ['Made', (key) => at(key.created_at)],
    ['Signs from', (key) => at(key.signs_from)],
    ['Retires', (key) => at(key.ends_at, key.state === 'current' ? 'with a rotation' : '–')],
    ['', (key) => canRemove && key.state !== 'current' && button('Take out', () => remove(key, again), { kind: 'danger small', label: `Take out ${key.kid}` })],
  ], { none: 'No key is published.', label: 'Signing keys' });
  return [
    heading('Keys', 'A key is published before it signs, and after it has signed until its last token has expired.',
      offered('rotateKeys') && may('write') && button('Rotate', () => rotate(again), { kind: 'primary' })),
    card(null, list),
  ];
}

function rotate(again) {
  dialogue('Rotate keys', (close) => form([
    field('Algorithm', 'alg', { options: [['', 'all of them'], ['EdDSA', 'EdDSA'], ['RS256', 'RS256'], ['ES256', 'ES256']], value: '' }),
    field('How', 'way', { options: WAYS, value: 'planned' }),
  ], 'Rotate', async ({ alg, way }) => {
    await ask('rotateKeys', { body: alg ? { alg, way } : { way } });
    say(way === 'planned' ? 'New keys are published; they sign when everybody can know them.' : 'The new keys sign.');
    close();
    again();
  }, { cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') }));
}

function remove(key, again) {
  confirm('Take the key out?', `All tokens that ${key.kid} has signed are refused from now on.`, 'Take it out', async () => {
    const { tag } = await ask('showKey', { id: key.kid });
    await ask('removeKey', { id: key.kid, tag });
    say('The key is gone.');
    again();
  });
}
