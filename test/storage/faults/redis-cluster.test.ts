/**
 * Two nodes over a Redis Cluster that is resharded, loses a master, promotes a replica that had not heard the last writes,
 * or has a master that looks alive and says nothing: nobody is served what was replaced, and Redis costs what it may.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { slotOf } from '../../../src/coherence/slot.js';
import type { LoRAStorageOptions } from '../../../src/options.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { type ClusterNode, TestRedisCluster } from '../../support/redis-cluster.js';
import { root } from '../../support/root.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { staleFor, versionAt } from './support.js';

const MAX_STALENESS_MS = 1000;
/** Never reached by a server that answers, on however busy a machine. */
const REDIS_TIMEOUT_MS = 2000;

const bench = useStorage();
let redis: TestRedisCluster;
let open: { node: LoRAStorage; client: Cluster }[] = [];

beforeAll(async () => {
  redis = await TestRedisCluster.start();
});
afterAll(() => redis?.stop());
afterEach(async () => {
  await Promise.all(open.map(({ node }) => node.close()));
  for (const { client } of open) client.disconnect();
  open = [];
});

async function nodeWith(
  options: LoRAStorageOptions = {},
  login: { username?: string; password?: string } = {},
): Promise<LoRAStorage> {
  const client = new Cluster(redis.startup, { redisOptions: login });
  client.on('error', () => undefined);
  const node = await bench.open({
    redis: client,
    maxStalenessMs: MAX_STALENESS_MS,
    redisTimeoutMs: REDIS_TIMEOUT_MS,
    ...options,
  });
  open.push({ node, client });
  await busIsLive(node);
  return node;
}

function busIsLive(node: LoRAStorage): Promise<boolean> {
  return waitFor(() => node.cacheStats().bus.connected, { timeoutMs: 30_000, what: 'a bus that is live' });
}

const nameOf = (userId: string, name = 'default') => `${bench.namespace}:v1:{${userId}}:${name}`;
const slotOfUser = (userId: string) => slotOf(nameOf(userId));
const channelSlotOf = (userId: string) => slotOf(`{${userId.slice(-1)}-bus}`);

/** A user in whose slot, or the slot of whose channel, this node is the master. */
async function userAt(owner: ClusterNode, slot: (userId: string) => number): Promise<string> {
  for (;;) {
    const userId = await bench.user();
    if ((await redis.ownerOf(slot(userId))) === owner) return userId;
  }
}

/** The revision that stands in Redis at this server, once it is that of an adapter. */
function revisionAt(server: ClusterNode, userId: string): Promise<number> {
  return waitFor(async () => {
    const held = await server.raw.getBuffer(nameOf(userId));
    return held !== null && held.length > 100 && held.readDoubleLE(8);
  });
}

describe.each<[string, LoRAStorageOptions]>([
  ['bus and change feed', {}],
  ['the bus alone, change feed off', { changeFeed: false }],
])('with %s', (_, options) => {
  test('slots move to and fro under loads, saves and deletions', async () => {
    const [a, b] = [await nodeWith(options), await nodeWith({ ...options, memory: false })];
    const corrupt: string[] = [];
    for (const node of [a, b]) node.on('corrupt', ({ reason }) => corrupt.push(reason));
    const users = await Promise.all(Array.from({ length: 6 }, () => bench.user()));
    const [moving, ...others] = users as [string, ...string[]];
    for (const userId of users) await a.saveAdapter(smallAdapter(userId, 1));
    const slot = slotOfUser(moving);
    const refusals = async () => [await redis.refusals('ASK'), await redis.refusals('MOVED')] as const;
    const [asks, moves] = await refusals();

    let version = 1;
    const everything = async () => {
      const expected = await a.saveAdapter(smallAdapter(moving, ++version));
      expect(expected).toBe(version);
      expect(await versionAt(a, moving)).toBe(version);
      expect(await staleFor(b, moving, version)).toBeLessThan(MAX_STALENESS_MS);
      const found = await b.loadAdapters([moving, ...others].map((userId) => ({ userId })));
      expect(found.map((adapter) => (adapter as { userId: string } | undefined)?.userId)).toEqual(users);
      const name = `gone ${version}`;
      await a.saveAdapter(smallAdapter(moving), name);
      expect(await versionAt(b, moving, name)).toBe(1);
      await a.deleteAdapter(moving, name);
      expect(await versionAt(a, moving, name)).toBe('ADAPTER_NOT_FOUND');
      await waitFor(async () => (await versionAt(b, moving, name)) === 'ADAPTER_NOT_FOUND');
    };
    for (let round = 0; round < 2; round++) {
      const to = await redis.strangerTo(slot);
      const from = await redis.beginMove(slot, to);
      await everything();
      await redis.moveKeys(slot, from, to);
      await everything();
      await redis.moveKeys(slot, from, to);
      await redis.endMove(slot, to);
      await everything();
    }
    const [asked, moved] = await refusals();
    expect([asked > asks, moved > moves]).toEqual([true, true]);
    expect(corrupt).toEqual([]);
    for (const node of [a, b]) expect(node.cacheStats().redis).toMatchObject({ errors: 0, timeouts: 0 });
  });

  test.each(['kill', 'pause'] as const)(
    'a master is gone (%s) while loads and saves run, and its replica promoted',
    async (how) => {
      const [a, b] = [await nodeWith(options), await nodeWith({ ...options, memory: false })];
      const ill = (await redis.masters())[0] ?? expect.fail('no master');
      const replica = await redis.replicaOf(ill);
      const users = await Promise.all(Array.from({ length: 4 }, () => userAt(ill, slotOfUser)));
      for (const userId of users) await a.saveAdapter(smallAdapter(userId, 1));
      for (const userId of users) expect(await versionAt(b, userId)).toBe(1);
      const before = b.cacheStats().redis;
      const begun = performance.now();

      await ill.server[how]();
      let version = 1;
      const round = async () => {
        version++;
        for (const userId of users) expect(await a.saveAdapter(smallAdapter(userId, version))).toBe(version);
        for (const userId of users) {
          expect(await versionAt(a, userId)).toBe(version);
          expect(await staleFor(b, userId, version)).toBeLessThan(MAX_STALENESS_MS);
        }
      };
      await round();
      for (let i = 0; i < 100; i++) for (const userId of users) expect(await versionAt(b, userId)).toBe(version);
      // A budget for what was under way when it began, and then for one trial at a time of a breaker that is open.
      const trials = Math.ceil((performance.now() - begun) / REDIS_TIMEOUT_MS);
      expect(b.cacheStats().redis.timeouts - before.timeouts).toBeLessThanOrEqual(users.length + 1 + trials);

      await redis.promoted(replica);
      await round();
      for (const node of [a, b]) await busIsLive(node);
      const { hits } = b.cacheStats().redis;
      await waitFor(async () => {
        await round();
        for (const userId of users) await versionAt(b, userId);
        return b.cacheStats().redis.hits > hits && (await replica.raw.exists(nameOf(users[0] ?? ''))) === 1;
      });
      await (how === 'kill' ? ill.server.restart() : ill.server.resume());
      await redis.whole();
      // The old master is a replica, and has nothing of its own to say.
      await round();
    },
  );

  test.each(['saved', 'deleted'] as const)(
    'a replica is promoted that had not heard of the last writes: %s',
    async (change) => {
      const [a, b] = [await nodeWith(options), await nodeWith({ ...options, memory: false })];
      const master = (await redis.masters())[0] ?? expect.fail('no master');
      const replica = await redis.replicaOf(master);
      const userId = await userAt(master, slotOfUser);
      await a.saveAdapter(smallAdapter(userId, 1));
      const old = await revisionAt(master, userId);
      await replica.raw.readonly();
      expect(await revisionAt(replica, userId)).toBe(old);
      for (const node of [a, b]) expect(await versionAt(node, userId)).toBe(1);

      // 1. The replica hears nothing any more. 2. The change reaches Postgres, the master and the other node.
      await replica.server.pause();
      await master.raw.call('CLIENT', 'KILL', 'TYPE', 'replica');
      const truth = change === 'saved' ? 2 : 'ADAPTER_NOT_FOUND';
      if (change === 'saved') await a.saveAdapter(smallAdapter(userId, 2));
      else await a.deleteAdapter(userId);
      for (const node of [a, b]) expect(await staleFor(node, userId, truth)).toBeLessThan(MAX_STALENESS_MS);
      await waitFor(async () => {
        const held = await master.raw.getBuffer(nameOf(userId));
        return held === null || held.readDoubleLE(8) > old;
      });
      // 3. The master dies, and the fence with it. 4. The replica goes on, and is promoted.
      await master.server.kill();
      await replica.server.resume();
      await redis.promoted(replica);
      expect(await revisionAt(replica, userId)).toBe(old);

      // 5. Neither who heard of the change serves what stands there, nor who comes only now and knows nothing else.
      const fresh = await nodeWith(options);
      await waitFor(async () => (await fresh.health()).redis === 'up');
      for (const node of [fresh, a, b]) expect(await versionAt(node, userId)).toBe(truth);
      for (const node of [fresh, a, b]) {
        const [loaded] = await node.loadAdapters([{ userId }]);
        expect(loaded === undefined).toBe(change === 'deleted');
      }
      // 6. Whoever finds it replaces it.
      await waitFor(async () => {
        await versionAt(b, userId);
        return (await replica.raw.getBuffer(nameOf(userId)))?.readDoubleLE(8) !== old;
      });
      await master.server.restart();
      await redis.whole();
    },
  );

  test('a master looks alive and says nothing: who subscribed there is behind no longer than the bound', async () => {
    const [a, b] = [await nodeWith(options), await nodeWith(options)];
    const ill = (await redis.masters())[0] ?? expect.fail('no master');
    const replica = await redis.replicaOf(ill);
    const userId = await userAt(ill, channelSlotOf);
    await a.saveAdapter(smallAdapter(userId, 1));
    expect(await versionAt(b, userId)).toBe(1);
    const degraded: string[] = [];
    b.on('degraded', ({ tier }) => degraded.push(tier));

    await ill.server.pause();
    await a.saveAdapter(smallAdapter(userId, 2));
    expect(await staleFor(b, userId, 2)).toBeLessThan(MAX_STALENESS_MS);
    await waitFor(() => degraded.includes('bus'));
    await redis.promoted(replica);
    for (const node of [a, b]) await busIsLive(node);
    const { received } = b.cacheStats().bus;
    await a.saveAdapter(smallAdapter(userId, 3));
    expect(await staleFor(b, userId, 3)).toBeLessThan(MAX_STALENESS_MS);
    await waitFor(() => b.cacheStats().bus.received > received);
    await ill.server.resume();
    await redis.whole();
  });
});

test('forgetUser, while the slot of the user moves: what no head knows goes, too', async () => {
  const node = await nodeWith();
  const userId = await bench.user();
  for (const name of ['a', 'b', 'c']) await node.saveAdapter(smallAdapter(userId), name);
  // That it does not exist is kept in Redis alone.
  expect(await versionAt(node, userId, 'absent')).toBe('ADAPTER_NOT_FOUND');
  const slot = slotOfUser(userId);
  const owner = await redis.ownerOf(slot);
  await waitFor(async () => ((await owner.raw.cluster('GETKEYSINSLOT', slot, 10)) as string[]).length === 4);
  const to = await redis.strangerTo(slot);
  const from = await redis.beginMove(slot, to);
  for (const name of ['a', 'absent']) await from.raw.migrate('127.0.0.1', to.port, nameOf(userId, name), 0, 10_000);
  expect(await node.forgetUser(userId)).toBe(3);
  for (const { raw } of [from, to]) expect(await raw.cluster('GETKEYSINSLOT', slot, 10)).toEqual([]);
  await redis.endMove(slot, to);
});

test('the permissions that docs/scaling.md names are enough', async () => {
  const page = readFileSync(join(root, 'docs/scaling.md'), 'utf8');
  const inCluster = page.match(/`\+[a-z|]+`/g)?.map((code) => code.slice(1, -1)) ?? [];
  // What one server takes.
  const onOne =
    '+get +mget +set +getrange +setrange +del +eval +evalsha +scan +unlink +publish +subscribe +ping +info +client|setname';
  const permissions = ['resetkeys', `~${bench.namespace}:*`, 'resetchannels', `&${bench.namespace}:*`, '-@all'];
  const login = { username: 'lora', password: 'test-only' };
  for (const { raw } of redis.nodes) {
    const rules = ['on', `>${login.password}`, ...permissions, ...onOne.split(' '), ...inCluster];
    await raw.call('ACL', 'SETUSER', login.username, 'reset', ...rules);
  }
  const [a, b] = [await nodeWith({}, login), await nodeWith({ memory: false }, login)];
  const userId = await bench.user();
  const { received } = b.cacheStats().bus;
  await a.saveAdapter(smallAdapter(userId));
  await waitFor(() => b.cacheStats().bus.received > received);
  expect(await versionAt(b, userId)).toBe(1);
  expect(await b.loadAdapters([{ userId }])).toHaveLength(1);
  // A client that does not know of the move is sent on.
  const slot = slotOfUser(userId);
  const to = await redis.strangerTo(slot);
  const from = await redis.beginMove(slot, to);
  await redis.moveKeys(slot, from, to);
  expect(await versionAt(b, userId)).toBe(1);
  expect(await a.forgetUser(userId)).toBe(1);
  await redis.endMove(slot, to);
  for (const node of [a, b]) expect(node.cacheStats().redis.errors).toBe(0);
  const denied = await Promise.all(redis.nodes.map(async ({ raw }) => (await raw.call('ACL', 'LOG')) as unknown[][]));
  expect(denied.flat().map((entry) => String(entry))).toEqual([]);
});
