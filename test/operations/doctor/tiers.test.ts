/** How the doctor measures: enough loads of whatever there is, judged where there are enough, and what is corrupt is told of. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Patient } from '../../../src/operations/doctor/finding.js';
import { someAdapters } from '../../../src/operations/doctor/planner.js';
import { judgeLatency, latencyOf } from '../../../src/operations/doctor/tiers.js';
import { Tables } from '../../../src/operations/tables.js';
import { insertAdapters } from '../../storage/faults/support.js';
import { useStorage } from '../../support/storage.js';

const bench = useStorage();
let tables: Tables;
let users: string[];

beforeEach(async () => {
  await bench.sql('truncate lora_adapters, lora_adapter_heads, users cascade');
  users = await insertAdapters(bench, 3);
  tables = Tables.openUnchecked(bench.postgresUrl, 5000);
});
afterEach(() => tables.close());

const patient = (): Patient => ({
  tables,
  cache: undefined,
  options: { postgres: bench.postgresUrl, redis: false },
  now: Date.now,
});

const loads = (count: number, slow: number) => Array.from({ length: count }, (_, i) => (i < count - slow ? 1 : 3));

describe('judged is', () => {
  test.each([
    ['p99 of a hundred', loads(100, 2), 'warning', /the target is 2 ms at p99$/],
    ['p99 of a hundred, of which one is slow', loads(100, 1), 'ok', /of 100 loads/],
    ['not p99 of fewer', loads(99, 2), 'ok', /of 99 loads/],
    ['p50 of fewer', loads(3, 2), 'warning', /the target is 2 ms at p50/],
  ])('%s', (_, tookMs, level, found) => {
    expect(judgeLatency(tookMs, 'redis')).toMatchObject({ level, found: expect.stringMatching(found) });
    expect('mend' in judgeLatency(tookMs, 'redis')).toBe(level === 'warning');
  });
});

test('few adapters are loaded over and over', async () => {
  const { found } = await latencyOf('memory')(patient());
  expect(Number(/of (\d+) loads/.exec(found)?.[1])).toBeGreaterThanOrEqual(100);
});

test('wherever the sample begins, it is filled up from the first user', async () => {
  for (let i = 0; i < 20; i++) {
    const names = (await someAdapters(tables)).map(([userId]) => userId);
    expect([...names].sort()).toEqual([...users].sort());
  }
});

describe('corrupt adapters in the sample', () => {
  const corrupt = (ids: readonly string[]) =>
    bench.sql(`update lora_adapters set weights = substr(weights, 1, 40) where user_id = any ($1::uuid[])`, [ids]);

  test('are counted, and the others measured', async () => {
    await corrupt(users.slice(0, 1));
    for (const tier of ['memory', 'postgres'] as const) {
      expect(await latencyOf(tier)(patient())).toEqual({
        level: 'warning',
        found: expect.stringMatching(/^p50 .* loads .*; 1 of 3 adapters are corrupt$/),
        mend: 'npx lora-store verify',
      });
    }
  });

  test('may be all of it', async () => {
    await corrupt(users);
    expect(await latencyOf('postgres')(patient())).toEqual({
      level: 'warning',
      found: 'nothing to measure; 3 of 3 adapters are corrupt',
      mend: 'npx lora-store verify',
    });
  });
});
