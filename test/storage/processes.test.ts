/** Writers in processes of their own, over the built package, as services would run them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Child, startChild } from '../support/processes.js';
import { redisUrl } from '../support/redis.js';
import { useStorage } from '../support/storage.js';

const bench = useStorage();
const children: Child[] = [];
const env = () => ({ DATABASE_URL: bench.postgresUrl, REDIS_URL: redisUrl(), LORA_TEST_NAMESPACE: bench.namespace });

beforeAll(async () => {
  const start = () => startChild(new URL('./saver.mjs', import.meta.url), env());
  children.push(...(await Promise.all([start(), start(), start(), start()])));
});
afterAll(() => Promise.all(children.map((child) => child.kill())));

test('100 concurrent saves of one adapter by 4 processes give versions 1 to 100', async () => {
  const userId = await bench.user();
  const versions = (await Promise.all(children.map((child) => child.call<number[]>('save', userId, 25)))).flat();
  expect(versions.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  const [{ count } = { count: 0 }] = await bench.sql<{ count: number }>(
    'select count(distinct version)::int as count from lora_adapters where user_id = $1',
    [userId],
  );
  expect(count).toBe(100);
  // Every process sees the last of them, within the time the bus takes.
  for (const child of children) expect(await child.call<number>('latest', userId, 100)).toBe(100);
});

test('of rival first savers with expectedVersion 0 exactly one wins', async () => {
  for (let round = 0; round < 10; round++) {
    const userId = await bench.user();
    const won = await Promise.all(children.map((child) => child.call<boolean>('saveFirst', userId)));
    expect(won.filter(Boolean)).toHaveLength(1);
  }
});

test('close() leaves no socket and no timer: a process ends by itself', async () => {
  const child = await startChild(new URL('./closing.mjs', import.meta.url), env());
  children.push(child);
  type Resources = Record<'during' | 'after', string[]>;
  const { during, after } = await child.call<Resources>('resourcesLeft', await bench.user());
  expect(during).toContain('TCPSocketWrap');
  expect(after).toEqual([]);
});
