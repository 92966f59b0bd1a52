/**
 * The Redis tier on a cluster: one call serves keys of all masters, each asked once; the fence holds while a slot moves
 * from one to another under the calls; and a master that is silent costs its own keys a budget, and no others.
 */

import { Cluster } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Key } from '../../src/coherence/key.js';
import { slotOf } from '../../src/coherence/slot.js';
import { RedisTier } from '../../src/tiers/redis.js';
import { redisNamespace } from '../support/redis.js';
import { type ClusterNode, TestRedisCluster } from '../support/redis-cluster.js';
import { waitFor } from '../support/wait.js';
import { absentOf, entryOf, newKey } from './support.js';

let redis: TestRedisCluster;
let cluster: Cluster;
let tier: RedisTier;
let states: string[];

beforeAll(async () => {
  redis = await TestRedisCluster.start();
});
afterAll(() => redis?.stop());
beforeEach(async () => {
  await connect(5000);
});
afterEach(() => cluster?.disconnect());

async function connect(timeoutMs: number, keyPrefix?: string): Promise<void> {
  cluster?.disconnect();
  cluster = new Cluster(redis.startup, keyPrefix === undefined ? {} : { keyPrefix });
  cluster.on('error', () => undefined);
  states = [];
  tier = new RedisTier(
    cluster,
    { namespace: redisNamespace(), timeoutMs, ttlMs: 60_000 },
    {
      corrupt: () => states.push('corrupt'),
      degraded: () => states.push('degraded'),
      recovered: () => states.push('recovered'),
    },
  );
  await waitFor(() => cluster.status === 'ready');
}

const someKeys = (count: number) => Array.from({ length: count }, () => newKey());
const slotOfKey = (key: Key) => slotOf(tier.redisKey(key));

/** Keys whose slot this node owns. */
async function keysAt(node: ClusterNode, count: number): Promise<Key[]> {
  const keys: Key[] = [];
  while (keys.length < count) {
    const key = newKey();
    if ((await redis.ownerOf(slotOfKey(key))) === node) keys.push(key);
  }
  return keys;
}

async function claimed(key: Key): Promise<Buffer> {
  const token = await tier.claim(key);
  return token instanceof Buffer ? token : expect.fail('no token');
}

async function revisionAt(key: Key): Promise<number | undefined> {
  return (await tier.read(key)).entry?.revision;
}

test.each([undefined, 'of-the-caller:'])(
  'readMany reads and claims on all masters, fills go where the tokens stand, forgetUser finds all (key prefix: %s)',
  async (keyPrefix) => {
    await connect(5000, keyPrefix);
    const keys = someKeys(30);
    const bad = keys[0] ?? expect.fail();
    await cluster.rpush(tier.redisKey(bad), 'x');
    const missed = await tier.readMany(keys);
    expect(missed.map(({ entry }) => entry)).toEqual(keys.map(() => undefined));
    expect(tier.corrupt).toBe(1);
    for (const [i, key] of keys.entries()) {
      const seen = missed[i]?.seen ?? (await claimed(key));
      await tier.fill(key, seen, entryOf(key, 1));
    }
    expect((await tier.readMany(keys)).map(({ entry }) => entry?.revision)).toEqual(keys.map(() => 1));
    const masters = await redis.masters();
    const sizes = await Promise.all(masters.map(({ raw }) => raw.dbsize()));
    expect(sizes.every((size) => size > 0)).toBe(true);
    const other = newKey();
    await tier.write(other, entryOf(other, 1));
    for (const key of keys) expect(await tier.forgetUser(key.userId)).toBe(true);
    const left = await Promise.all(masters.map(({ raw }) => raw.dbsize()));
    expect(left.reduce((sum, size) => sum + size, 0)).toBe(1);
    expect(await tier.forgetUser(other.userId)).toBe(true);
    expect(states).toEqual(['corrupt']);
  },
);

test('forgetUser says that it has not been done, where no master is known yet', async () => {
  cluster.disconnect();
  cluster = new Cluster(redis.startup, { lazyConnect: true });
  const events = { corrupt: () => undefined, degraded: () => undefined, recovered: () => undefined };
  tier = new RedisTier(cluster, { namespace: redisNamespace(), timeoutMs: 5000, ttlMs: 60_000 }, events);
  const { userId } = newKey();
  expect(await tier.forgetUser(userId)).toBe(false);
  await cluster.connect();
  expect(await tier.forgetUser(userId)).toBe(true);
});

test('readMany sends each master one packet, however many keys it has', async () => {
  const keys = someKeys(60);
  for (const key of keys) await tier.write(key, entryOf(key, 1));
  const masters = await redis.masters();
  const packets = () =>
    Promise.all(
      masters.map(async ({ raw }) => Number(/total_reads_processed:(\d+)/.exec(await raw.info('stats'))?.[1])),
    );
  const before = await packets();
  expect((await tier.readMany(keys)).map(({ entry }) => entry?.revision)).toEqual(keys.map(() => 1));
  const after = await packets();
  // Beside it come the question for the count, and what a replica says once a second.
  for (const [i, count] of after.entries()) expect(count - (before[i] ?? 0)).toBeLessThan(6);
});

describe('while a slot moves under the calls', () => {
  /** Each is made with the key on its way (ASK), and by the same client when it has arrived (MOVED). */
  const calls: [name: string, call: (key: Key, round: number) => Promise<unknown>][] = [
    ['read', async (key) => expect(await revisionAt(key)).toBe(1)],
    [
      'readMany, of this slot and of many others',
      async (key) => {
        const others = someKeys(20);
        for (const other of others) await tier.write(other, entryOf(other, 1));
        const found = await tier.readMany([...others, key, newKey('not there', key.userId)]);
        expect(found.map(({ entry }) => entry?.revision)).toEqual([...others.map(() => 1), 1, undefined]);
        expect(found.at(-1)?.seen).toBeDefined();
      },
    ],
    [
      'write, which replaces the older and not the newer',
      async (key, round) => {
        await tier.write(key, entryOf(key, 10 * round));
        const { fenced } = tier;
        await tier.write(key, entryOf(key, 10 * round - 1));
        expect([await revisionAt(key), tier.fenced]).toEqual([10 * round, fenced + 1]);
      },
    ],
    [
      'claim and fill, of which the second finds the token gone',
      async (key, round) => {
        const absent = newKey(`absent ${round}`, key.userId);
        const token = await claimed(absent);
        await tier.fill(absent, token, entryOf(absent, 5));
        const { fenced } = tier;
        await tier.fill(absent, token, entryOf(absent, 4));
        expect([await revisionAt(absent), tier.fenced]).toEqual([5, fenced + 1]);
      },
    ],
    [
      'clear, after which no fill succeeds',
      async (key, round) => {
        const { seen } = await tier.read(key);
        await tier.clear(key, 100);
        expect(await revisionAt(key)).toBeUndefined();
        const { fenced } = tier;
        if (seen !== undefined) await tier.fill(key, seen, entryOf(key, round));
        expect(tier.fenced).toBe(fenced + 1);
        await tier.write(key, entryOf(key, 1));
      },
    ],
    [
      'restamp',
      async (key, round) => {
        const { seen } = await tier.read(key);
        await tier.restamp(key, seen ?? expect.fail(), entryOf(key, 1, { xid: 7000 + round }));
        expect((await tier.read(key)).entry?.xid).toBe(7000 + round);
      },
    ],
  ];

  test.each(calls)('%s', async (_, call) => {
    const key = newKey();
    const slot = slotOfKey(key);
    await tier.write(key, entryOf(key, 1));
    const to = await redis.strangerTo(slot);
    const asks = await redis.refusals('ASK');
    const from = await redis.beginMove(slot, to);
    await redis.moveKeys(slot, from, to);
    await call(key, 1);
    expect(await redis.refusals('ASK')).toBeGreaterThan(asks);
    const moves = await redis.refusals('MOVED');
    await redis.moveKeys(slot, from, to);
    await redis.endMove(slot, to);
    await call(key, 2);
    expect(await redis.refusals('MOVED')).toBeGreaterThan(moves);
    expect([tier.errors, states]).toEqual([0, []]);
  });

  test('a token of before the move, a newer write in the middle of it, and the fill comes after', async () => {
    const key = newKey();
    const slot = slotOfKey(key);
    const token = await claimed(key);
    const to = await redis.strangerTo(slot);
    const from = await redis.beginMove(slot, to);
    await redis.moveKeys(slot, from, to);
    await tier.clear(key, 2);
    await redis.endMove(slot, to);
    await tier.fill(key, token, entryOf(key, 1));
    expect([tier.fenced, await revisionAt(key)]).toEqual([1, undefined]);
  });

  test('forgetUser: some of the names have left, one leaves while they are listed, and all are removed', async () => {
    const { userId } = newKey();
    const keys = ['a', 'b', 'c', 'd'].map((name) => newKey(name, userId));
    for (const key of keys) await tier.write(key, absentOf(1));
    const slot = slotOfKey(keys[0] ?? expect.fail());
    const to = await redis.strangerTo(slot);
    const from = await redis.beginMove(slot, to);
    const leave = (key: Key | undefined) =>
      from.raw.migrate('127.0.0.1', to.port, tier.redisKey(key ?? expect.fail()), 0, 10_000);
    await Promise.all(keys.slice(2).map(leave));
    // 1. Whoever is asked first has answered. 2. A name leaves. 3. The answer arrives.
    let left = false;
    for (const node of cluster.nodes('master')) {
      const ask = node.cluster.bind(node) as (...args: unknown[]) => Promise<unknown>;
      node.cluster = (async (...args: unknown[]) => {
        const names = await ask(...args);
        if (!left) {
          left = true;
          await leave(keys[0]);
        }
        return names;
      }) as typeof node.cluster;
    }
    expect(await tier.forgetUser(userId)).toBe(true);
    for (const { raw } of [from, to]) expect(await raw.cluster('GETKEYSINSLOT', slot, 10)).toEqual([]);
    await redis.endMove(slot, to);
    expect([left, tier.errors, states]).toEqual([true, 0, []]);
  });
});

describe('a master that is silent', () => {
  test('costs its own keys one budget and then nothing, and those of the others nothing at all', async () => {
    await connect(2000);
    const [ill, well] = (await redis.masters()) as [ClusterNode, ClusterNode];
    const [lost, kept] = [await keysAt(ill, 20), await keysAt(well, 20)];
    await waitFor(async () => {
      for (const key of [...lost, ...kept]) await tier.write(key, entryOf(key, 1));
      return (await tier.readMany([...lost, ...kept])).every(({ entry }) => entry?.revision === 1);
    });
    const replica = await redis.replicaOf(ill);
    const [{ errors, timeouts }, spoken] = [tier, states.length];
    await ill.server.pause();
    // One call for all: what the others hold is there all the same.
    const found = await tier.readMany([...lost, ...kept]);
    expect(found.map(({ entry }) => entry?.revision)).toEqual([...lost.map(() => undefined), ...kept.map(() => 1)]);
    expect([tier.errors - errors, tier.timeouts - timeouts]).toEqual([1, 1]);
    for (const key of kept) expect(await revisionAt(key)).toBe(1);
    expect(states.slice(spoken)).toEqual(['degraded']);

    // Its replica takes over, and the client finds out by itself.
    await redis.promoted(replica);
    await waitFor(async () => {
      for (const key of lost) await tier.write(key, entryOf(key, 2));
      return (await tier.readMany(lost)).every(({ entry }) => entry?.revision === 2);
    });
    await waitFor(() => states.at(-1) === 'recovered');
    expect(states.slice(spoken)).toEqual(['degraded', 'recovered']);
    await ill.server.resume();
    await redis.whole();
    // It is a replica now, and comes back to no slot.
    expect(await redis.ownerOf(slotOfKey(lost[0] ?? expect.fail()))).toBe(replica);
    expect((await tier.readMany(lost)).every(({ entry }) => entry?.revision === 2)).toBe(true);
  });

  test('is found by a ping, which asks every master, and is found to be replaced', async () => {
    await connect(500);
    const [ill] = (await redis.masters()) as [ClusterNode];
    await waitFor(() =>
      tier.ping().then(
        () => true,
        () => false,
      ),
    );
    const replica = await redis.replicaOf(ill);
    const spoken = states.length;
    await ill.server.pause();
    await expect(tier.ping()).rejects.toThrow('Redis did not answer');
    expect([tier.breaker, states.slice(spoken)]).toEqual(['open', ['degraded']]);
    await redis.promoted(replica);
    await waitFor(() =>
      tier.ping().then(
        () => states.at(-1) === 'recovered',
        () => false,
      ),
    );
    expect(tier.breaker).toBe('closed');
    await ill.server.resume();
    await redis.whole();
  });
});
