// Signing keys: what signs, what will, and until when what signed before is published.

import { ask, offered } from '../api.js';
import { h, say } from '../dom.js';
import { at, badge, button, card, code, dialogue, field, form, heading, listing, tick } from '../parts.js';

const STATES = { current: 'good', next: '', retired: 'bad' };

export async function show({ may, again }) {
  const list = await listing('listKeys', {}, [
    ['Key', (key) => code(key.kid)],
    ['Algorithm', (key) => key.alg],
    ['State', (key) => badge(key.state, STATES[key.state])],
    ['Made', (key) => at(key.created_at)],
    ['Signs from', (key) => at(key.signs_from, key.state === 'current' ? 'when it was made' : '–')],
    ['Retires', (key) => at(key.ends_at, retires(key))],
  ], { none: 'No key is published.', label: 'Signing keys' });
  const canRotate = offered('rotateKeys') && may('write');
  return [
    heading('Keys', 'A key is published before it signs, and after it has signed until its last token has expired.',
      canRotate && button('Rotate', () => rotate(again), { kind: 'primary' })),
    card(null, list),
    !offered('rotateKeys') && h('p', { class: 'hint' }, 'Keys rotate by themselves. By hand: ', code('authz-server key rotate'), ' where the server runs.'),
  ];
}

function retires({ state }) {
  if (state === 'current') return 'with the next rotation';
  return state === 'retired' ? 'after its last token' : '–';
}

function rotate(again) {
  dialogue('Rotate keys', (close) => form([
    h('p', { class: 'hint' }, 'The next key is published, and signs when every cache has had the time to learn it.'),
    field('Algorithm', 'alg', { options: [['', 'all of them'], ['EdDSA', 'EdDSA'], ['RS256', 'RS256'], ['ES256', 'ES256']], value: '' }),
    tick('The key is lost: stop trusting it now', 'emergency', false, 'Every token that it has signed fails from now on.'),
  ], 'Rotate', async (said) => {
    const body = { ...(said.alg && { alg: said.alg }), ...(said.emergency === 'on' && { emergency: true }) };
    await ask('rotateKeys', { body });
    say('The keys are rotated.');
    close();
    again();
  }, { cancel: h('button', { type: 'button', class: 'plain', onclick: close }, 'Cancel') }));
}
