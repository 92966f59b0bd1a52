/** Entries are looked at on each hit: all of them must be of one hidden class. */
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { expect, test } from 'vitest';
import { entryOf, restamped } from '../../src/tiers/entry.js';
import { newKey, recordOf } from './support.js';

setFlagsFromString('--allow-natives-syntax');
const sameClass = runInThisContext('(a, b) => %HaveSameMap(a, b)') as (a: object, b: object) => boolean;
sameClass({}, {}); // compiled on its first call, while % may be read
setFlagsFromString('--no-allow-natives-syntax');

test('entries share a hidden class, those that were stamped anew too', () => {
  const asked = { verifiedAt: 1.5, era: 1 };
  // As Postgres answers: more than a caller or two, since V8 learns what fields hold.
  const entries = Array.from({ length: 500 }, (_, i) => {
    return entryOf(
      { revision: 1.7e15 + i, version: 1, xid: 700 + i, server: 7e9, ...asked },
      recordOf(newKey()),
      1.7e12 + i,
    );
  });
  const last = entries.at(-1) as (typeof entries)[0];
  for (const other of [...entries.slice(-100), restamped(last, last)]) expect(sameClass(last, other)).toBe(true);
});
