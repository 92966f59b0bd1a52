/** The Redis tier on a cluster of two: keys of many users lie on both, and one call serves them all. */
import { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RedisTier } from '../../src/tiers/redis.js';
import { type OwnServer, redisNamespace, startRedis } from '../support/redis.js';
import { waitFor } from '../support/wait.js';
import { entryOf, newKey } from './support.js';

let servers: OwnServer[];
let raws: Redis[];
let cluster: Cluster;
let tier: RedisTier;
const degraded: Error[] = [];

beforeAll(async () => {
  servers = await Promise.all([1, 2].map(() => startRedis({ 'cluster-enabled': 'yes' })));
  raws = servers.map(({ url }) => new Redis(url));
  const [a, b] = raws as [Redis, Redis];
  await a.call('CLUSTER', 'ADDSLOTSRANGE', '0', '8191');
  await b.call('CLUSTER', 'ADDSLOTSRANGE', '8192', '16383');
  await a.call('CLUSTER', 'MEET', '127.0.0.1', String(servers[1]?.port));
  for (const raw of raws) {
    await waitFor(async () => String(await raw.call('CLUSTER', 'INFO')).includes('cluster_state:ok'), {
      timeoutMs: 30_000,
    });
    await waitFor(async () => String(await raw.call('CLUSTER', 'INFO')).includes('cluster_known_nodes:2'));
  }
  cluster = new Cluster(servers.map(({ port }) => ({ host: '127.0.0.1', port })));
  cluster.on('error', () => undefined);
  tier = new RedisTier(
    cluster,
    { namespace: redisNamespace(), timeoutMs: 5000, ttlMs: 60_000 },
    { corrupt: () => undefined, degraded: (cause) => degraded.push(cause), recovered: () => undefined },
  );
});
afterAll(async () => {
  cluster.disconnect();
  for (const raw of raws) raw.disconnect();
  await Promise.all(servers.map((server) => server.stop()));
});

test('readMany reads and claims on both nodes, fills go where the tokens stand, forgetUser scans both', async () => {
  const keys = Array.from({ length: 20 }, () => newKey());
  const bad = keys[0] ?? expect.fail();
  await cluster.rpush(tier.redisKey(bad), 'x');
  const missed = await tier.readMany(keys);
  expect(missed.map(({ entry }) => entry)).toEqual(keys.map(() => undefined));
  expect(tier.corrupt).toBe(1);
  for (const [i, key] of keys.entries()) {
    const seen = missed[i]?.seen ?? (await tier.claim(key)) ?? expect.fail('no token');
    await tier.fill(key, seen, entryOf(key, 1));
  }
  expect((await tier.readMany(keys)).map(({ entry }) => entry?.revision)).toEqual(keys.map(() => 1));
  const sizes = await Promise.all(raws.map((raw) => raw.dbsize()));
  expect(sizes.every((size) => size > 0)).toBe(true);
  for (const key of keys) await tier.forgetUser(key.userId);
  expect(await Promise.all(raws.map((raw) => raw.dbsize()))).toEqual([0, 0]);
  expect([tier.errors, degraded]).toEqual([0, []]);
});
