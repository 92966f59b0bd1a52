/** Users of the load generator: as often as Zipf says, and a cache as large as a hit rate takes. */
import { LRUCache } from 'lru-cache';
import { expect, test } from 'vitest';
import { draws, OPERATIONS } from '../../bench/system/demand.js';
import { drawerOf, entriesForHitRate, popularity } from '../../bench/system/zipf.js';
import { seeded } from '../support/random.js';

const USERS = 2_000;
const DRAWS = 200_000;

test('shares fall with the rank and add up to one', () => {
  const shares = popularity(USERS);
  expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
  expect((shares[0] as number) / (shares[9] as number)).toBeCloseTo(10 ** 0.99, 6);
});

test('each user is drawn as often as its share says', () => {
  const shares = popularity(USERS);
  const draw = drawerOf(shares);
  const random = seeded(1);
  const counts = new Float64Array(USERS);
  for (let i = 0; i < DRAWS; i++) {
    const user = draw(random());
    counts[user] = (counts[user] ?? 0) + 1;
  }
  for (const user of [0, 1, 9, 99]) {
    const expected = DRAWS * (shares[user] as number);
    // Six standard deviations of a count; the draws are the same in each run.
    expect(Math.abs((counts[user] as number) - expected)).toBeLessThan(6 * Math.sqrt(expected));
  }
  expect(draw(0)).toBe(0);
  expect(draw(1 - 2 ** -53)).toBe(USERS - 1);
});

test.each([0.5, 0.9, 0.99])('an LRU cache of that many entries answers %s of the draws', (hitRate) => {
  const shares = popularity(USERS);
  const draw = drawerOf(shares);
  const random = seeded(2);
  const cache = new LRUCache<number, true>({ max: entriesForHitRate(shares, hitRate) });
  for (let user = USERS - 1; user >= 0; user--) cache.set(user, true);
  let hits = 0;
  for (let i = 0; i < DRAWS; i++) {
    const user = draw(random());
    if (cache.get(user) === true) hits++;
    else cache.set(user, true);
  }
  expect(hits / DRAWS).toBeCloseTo(hitRate, 1.7);
});

test('operations come in the shares of their mix', () => {
  const next = draws({ users: USERS, mix: { load: 0.9, list: 0.1 }, seed: 3 });
  const counts = OPERATIONS.map(() => 0);
  for (let i = 0; i < DRAWS; i++) {
    const { operation } = next();
    counts[operation] = (counts[operation] ?? 0) + 1;
  }
  expect(counts.map((count) => count / DRAWS)).toEqual([expect.closeTo(0.9, 2), 0, expect.closeTo(0.1, 2), 0]);
});
