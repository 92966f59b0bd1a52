/** inExperiment: the buckets that are written down, their shares, and that one experiment says nothing of another. */
import { describe, expect, test } from 'vitest';
import { InvalidAdapterError } from '../../src/errors.js';
import { inExperiment } from '../../src/sona/experiment.js';
import { useStorage } from '../support/storage.js';

const bench = useStorage();

/** Consecutive ids: the hardest for a hash that mixes badly. */
const users = Array.from({ length: 100_000 }, (_, i) => `00000000-0000-4000-8000-${i.toString(16).padStart(12, '0')}`);

/** From printf '<experiment>\0<user>' | sha256sum, first eight digits. */
const golden: [experiment: string, userId: string, bucket: number][] = [
  ['ranking', '3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f', 0xb4b85deb],
  ['longer-training', '3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f', 0xc5b6cee2],
  ['ranking', '00000000-0000-0000-0000-000000000000', 0x1e26a5dd],
  ['Größe', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 0x29dce6f3],
];

test.each(golden)('%s: the bucket of %s is %i of 2^32', (experiment, userId, bucket) => {
  const share = (100 * bucket) / 2 ** 32;
  expect(inExperiment(userId, experiment, share)).toBe(false);
  expect(inExperiment(userId, experiment, share + 1e-7)).toBe(true);
  expect(inExperiment(userId.toUpperCase(), experiment, share)).toBe(false);
  expect(inExperiment(userId.toUpperCase(), experiment, share + 1e-7)).toBe(true);
});

test('Postgres finds the same users', async () => {
  const rows = await bench.sql<{ id: string }>(
    `select id from unnest($1::text[]) id
     where ('x' || encode(substr(sha256(convert_to('ranking', 'utf8') || '\\x00' || convert_to(id, 'utf8')), 1, 4), 'hex'))::bit(32)::bigint
       & 4294967295 < 0.25 * 4294967296`,
    [users.slice(0, 5000)],
  );
  const expected = users.slice(0, 5000).filter((userId) => inExperiment(userId, 'ranking', 25));
  expect(rows.map(({ id }) => id)).toEqual(expected);
});

describe('of 100,000 users', () => {
  test.each([1, 10, 50, 90])('%f %% are in', (percent) => {
    const inside = users.filter((userId) => inExperiment(userId, 'ranking', percent));
    const share = (100 * inside.length) / users.length;
    expect(Math.abs(share - percent)).toBeLessThan(1);
    // Four standard deviations of as many coins.
    expect(Math.abs(share - percent)).toBeLessThan(4 * Math.sqrt((percent * (100 - percent)) / users.length));
  });

  test('who is in stays in when the percentage grows', () => {
    for (const userId of users.slice(0, 1000)) {
      const shares = [0, 1, 7, 20, 50, 80, 99, 100].map((percent) => inExperiment(userId, 'ranking', percent));
      expect(shares).toEqual(shares.toSorted());
    }
  });

  test('none are in at 0, and all at 100', () => {
    expect(users.some((userId) => inExperiment(userId, 'ranking', 0))).toBe(false);
    expect(users.every((userId) => inExperiment(userId, 'ranking', 100))).toBe(true);
  });

  test.each([
    ['ranking', 'ranking-2'],
    ['ranking', 'Ranking'],
    ['a', 'b'],
  ])('%s says nothing of %s', (one, other) => {
    const percent = 30;
    const counts = [0, 0, 0, 0];
    for (const userId of users) {
      const cell = 2 * Number(inExperiment(userId, one, percent)) + Number(inExperiment(userId, other, percent));
      counts[cell] = (counts[cell] ?? 0) + 1;
    }
    const [none = 0, second = 0, first = 0, both = 0] = counts;
    // χ² of the table of both experiments, one degree of freedom: above 10.83 once in a thousand.
    const chiSquare =
      (users.length * (none * both - first * second) ** 2) /
      ((none + second) * (first + both) * (none + first) * (second + both));
    expect(chiSquare).toBeLessThan(10.83);
  });
});

describe('what is refused', () => {
  const user = users[0] as string;
  test.each([
    ['a user id that is none', ['me', 'ranking', 10]],
    ['no experiment', [user, '', 10]],
    ['an experiment that is no string', [user, 3, 10]],
    ['less than nothing', [user, 'ranking', -1]],
    ['more than all', [user, 'ranking', 100.5]],
    ['NaN', [user, 'ranking', Number.NaN]],
    ['a percent in words', [user, 'ranking', '10']],
    ['no percent', [user, 'ranking']],
  ])('%s', (_, args) => {
    expect(() => inExperiment(...(args as Parameters<typeof inExperiment>))).toThrow(InvalidAdapterError);
  });
});
