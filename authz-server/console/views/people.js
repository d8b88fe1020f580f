// The id of a person, by what is typed for one.

import { ask } from '../api.js';

export async function userOf(typed) {
  if (typed.startsWith('u_')) return typed;
  const { body } = await ask('listUsers', { query: { username: typed } });
  return body.items[0]?.user_id ?? typed;
}
