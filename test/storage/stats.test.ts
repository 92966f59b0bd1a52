/** What cacheStats() says of the parts as they are now: breakers, the pool, the bus and the ear. Its counters are in tiers.test.ts. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { redisUrl } from '../support/redis.js';
import { useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { holdHeads, proxyTo } from './faults/support.js';

const bench = useStorage();

test('a breaker is open while its tier is gone, and closed when a trial has succeeded', async () => {
  const [postgres, redis] = [await proxyTo(bench.postgresUrl), await proxyTo(redisUrl())];
  const node = await bench.open({
    postgres: postgres.url(bench.postgresUrl),
    redis: redis.url(redisUrl()),
    changeFeed: false,
  });
  const breakers = () => [node.cacheStats().postgres.breaker, node.cacheStats().redis.breaker];
  expect(breakers()).toEqual(['closed', 'closed']);
  const load = () => node.loadAdapter(randomUUID()).catch(() => undefined);
  for (const proxy of [postgres, redis]) proxy.cut();
  await waitFor(async () => {
    await load();
    return breakers().every((state) => state === 'open');
  });
  for (const proxy of [postgres, redis]) proxy.heal();
  await waitFor(async () => {
    await load();
    return breakers().every((state) => state === 'closed');
  });
  await node.close();
  for (const proxy of [postgres, redis]) await proxy.close();
});

test('the pool: connections there are and may be, and calls that have none', async () => {
  const node = await bench.open({ postgres: { connectionString: bench.postgresUrl, max: 1 }, redis: false });
  const pool = () => node.cacheStats().postgres.pool;
  expect(pool()).toEqual({ size: 1, max: 1, idle: 1, waiting: 0 });
  const held = await holdHeads(bench.postgresUrl);
  const loads = [1, 2, 3].map(() => node.loadAdapter(randomUUID()).catch(() => undefined));
  await waitFor(() => pool().idle === 0);
  expect(pool()).toEqual({ size: 1, max: 1, idle: 0, waiting: 2 });
  await held.release();
  await Promise.all(loads);
  expect(pool()).toEqual({ size: 1, max: 1, idle: 1, waiting: 0 });
});

test('memory says how much it may hold, and 0 where there is none', async () => {
  const [node, bare] = [await bench.open({ memory: { maxBytes: 123_456 } }), await bench.open({ memory: false })];
  expect([node, bare].map((each) => each.cacheStats().memory.maxBytes)).toEqual([123_456, 0]);
});

test('the lag of the bus: the round trip of a message to itself, and none while it is cut', async () => {
  const proxy = await proxyTo(redisUrl());
  // It sends one at every third of this.
  const node = await bench.open({ redis: proxy.url(redisUrl()), maxStalenessMs: 900 });
  const lag = () => node.cacheStats().bus.lagMs;
  expect(lag()).toBeUndefined();
  await waitFor(() => lag() !== undefined);
  const DELAY = 60;
  proxy.delay(DELAY);
  await waitFor(() => (lag() ?? 0) >= DELAY);
  proxy.cut();
  await waitFor(() => lag() === undefined);
  await node.close();
  await proxy.close();
});

test('a breaker before Redis closes again on a node that asks Redis for nothing: its bus hears that Redis is back', async () => {
  const proxy = await proxyTo(redisUrl());
  const node = await bench.open({ redis: proxy.url(redisUrl()), redisTimeoutMs: 500, maxStalenessMs: 900 });
  const told: string[] = [];
  node.on('recovered', ({ tier }) => told.push(tier));
  proxy.mute();
  await waitFor(async () => {
    await node.loadAdapter(randomUUID()).catch(() => undefined);
    return node.cacheStats().redis.breaker === 'open';
  });
  proxy.heal();
  // No load and no health(): only what the node does by itself.
  await waitFor(() => node.cacheStats().redis.breaker === 'closed' && told.includes('redis'));
  await node.close();
  await proxy.close();
});

test('the ear: live with a heartbeat that is not old, and the age that grows when it is mute', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  const maxStalenessMs = 900;
  const postgres = { primary: bench.postgresUrl, direct: proxy.url(bench.postgresUrl) };
  const node = await bench.open({ postgres, redis: false, maxStalenessMs });
  const ear = () => node.cacheStats().changeFeed;
  await waitFor(() => ear().live && (ear().heartbeatAgeMs ?? Number.POSITIVE_INFINITY) < maxStalenessMs);
  expect(ear().reconnects).toBe(0);
  proxy.mute();
  await waitFor(() => !ear().live && (ear().heartbeatAgeMs ?? 0) > maxStalenessMs && ear().reconnects > 0);
  await node.close();
  await proxy.close();
});

test('without an ear there is no heartbeat', async () => {
  const node = await bench.open({ changeFeed: false });
  expect(node.cacheStats().changeFeed).toEqual({
    enabled: false,
    live: false,
    reconnects: 0,
    heartbeatAgeMs: undefined,
  });
});
