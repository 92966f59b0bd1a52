/**
 * Two nodes whose Redis is found through sentinels, and fails over: the old master killed, paused, or demoted under their
 * connections. Nobody is served what was replaced, and both find the new master by themselves.
 */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { LoRAStorageOptions } from '../../../src/options.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import type { OwnServer } from '../../support/redis.js';
import { TestSentinels } from '../../support/redis-sentinel.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { staleFor, versionAt } from './support.js';

const MAX_STALENESS_MS = 1000;

const bench = useStorage();
let redis: TestSentinels;
let open: LoRAStorage[] = [];

beforeAll(async () => {
  redis = await TestSentinels.start();
});
afterAll(() => redis?.stop());
afterEach(async () => {
  await Promise.all(open.map((node) => node.close()));
  open = [];
});

async function nodeWith(options: LoRAStorageOptions = {}): Promise<LoRAStorage> {
  const node = await bench.open({
    redis: redis.options,
    maxStalenessMs: MAX_STALENESS_MS,
    redisTimeoutMs: 1000,
    ...options,
  });
  open.push(node);
  await busIsLive(node);
  return node;
}

function busIsLive(node: LoRAStorage): Promise<boolean> {
  return waitFor(() => node.cacheStats().bus.connected, { timeoutMs: 30_000, what: 'a bus that is live' });
}

const nameOf = (userId: string) => `${bench.namespace}:v1:{${userId}}:default`;

async function at<T>(server: OwnServer, ask: (raw: Redis) => Promise<T>): Promise<T> {
  const raw = new Redis(server.url);
  try {
    return await ask(raw);
  } finally {
    raw.disconnect();
  }
}

/** Saved by the one, the other has it in time, and this server holds it. */
async function works(a: LoRAStorage, b: LoRAStorage, server: OwnServer): Promise<void> {
  const userId = await bench.user();
  await waitFor(async () => {
    const version = await a.saveAdapter(smallAdapter(userId));
    expect(await versionAt(a, userId)).toBe(version);
    expect(await staleFor(b, userId, version)).toBeLessThan(MAX_STALENESS_MS);
    return (await at(server, (raw) => raw.strlen(nameOf(userId)))) > 100;
  });
  const { hits } = b.cacheStats().redis;
  await waitFor(async () => {
    await versionAt(b, userId);
    return b.cacheStats().redis.hits > hits;
  });
  const { received } = b.cacheStats().bus;
  await waitFor(async () => {
    await a.saveAdapter(smallAdapter(userId));
    return b.cacheStats().bus.received > received;
  });
}

test.each<['kill' | 'pause', string, LoRAStorageOptions]>([
  ['kill', 'the bus alone, change feed off', { changeFeed: false }],
  ['pause', 'bus and change feed', {}],
])('the master is gone (%s) while loads and saves run, with %s', async (how, _, options) => {
  const [a, b] = [await nodeWith(options), await nodeWith({ ...options, memory: false })];
  const master = await redis.master();
  const replica = redis.other(master);
  await works(a, b, master);
  const userId = await bench.user();
  await a.saveAdapter(smallAdapter(userId, 1));
  expect(await versionAt(b, userId)).toBe(1);
  const degraded: string[] = [];
  b.on('degraded', ({ tier }) => degraded.push(tier));

  await master[how]();
  let version = 1;
  const round = async () => {
    expect(await a.saveAdapter(smallAdapter(userId, ++version))).toBe(version);
    expect(await versionAt(a, userId)).toBe(version);
    expect(await staleFor(b, userId, version)).toBeLessThan(MAX_STALENESS_MS);
  };
  await round();
  await waitFor(() => degraded.includes('bus') && degraded.includes('redis'));
  await redis.promoted(replica);
  await round();
  for (const node of [a, b]) await busIsLive(node);
  await works(a, b, replica);
  // It comes back believing that it is the master still, and is told better.
  await (how === 'kill' ? master.restart() : master.resume());
  await round();
  await redis.whole();
  await round();
  expect(await at(master, (raw) => raw.info('replication'))).toMatch(/role:slave/);
  await works(a, b, replica);
});

test('a master that was demoted under its connections refuses writes, and is left for the one that the sentinels name', async () => {
  const [a, b] = [await nodeWith(), await nodeWith({ memory: false })];
  const master = await redis.master();
  const replica = redis.other(master);
  await works(a, b, master);
  await redis.swapUnnoticed(master, replica);
  await works(a, b, replica);
  await redis.whole();
});

test('a sentinel that looks alive and says nothing is passed over', async () => {
  const [mute] = redis.sentinels as [OwnServer];
  await mute.pause();
  const [a, b] = await Promise.all([nodeWith(), nodeWith({ memory: false })]);
  await works(a, b, await redis.master());
  await mute.resume();
});
