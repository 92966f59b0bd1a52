/**
 * Redis that answers and refuses: full, a replica, loading, locked. Loads come from Postgres, saves are committed and
 * counted as errors of Redis, the tier says that it is degraded, and recovers by itself when Redis is well again.
 */
import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../../src/adapter/adapter.js';
import type { LoRAStorageOptions } from '../../../src/options.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { type OwnServer, startRedis } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { RedisBytes } from './redis-bytes.js';
import { proxyTo, versionAt } from './support.js';
import { toldOf } from './told.js';

const bench = useStorage();
const PASSWORD = 'secret';
/** What fills a server that loads slowly: a key at a time, and clients heard in between. */
const FILLING = 400;
const LOADABLE = {
  'enable-debug-command': 'yes',
  'loading-process-events-interval-bytes': '1024',
  // 40 s, were it left to itself.
  'key-load-delay': '100000',
};

let server: OwnServer;
let redis: RedisBytes;
/** Replies while the server loads, too. */
let admin: Redis;
let owned: OwnServer[];

beforeEach(async () => {
  server = await startRedis(LOADABLE);
  redis = new RedisBytes(server.url, bench.namespace);
  admin = new Redis(server.url, { enableReadyCheck: false, maxRetriesPerRequest: null });
  for (const client of [redis.raw, admin]) client.on('error', () => undefined);
  owned = [server];
});
afterEach(async () => {
  for (const client of [redis?.raw, admin]) client?.disconnect();
  await Promise.all((owned ?? []).map((each) => each.stop()));
});

interface Told {
  readonly node: LoRAStorage;
  readonly told: string[];
}

async function open(options: LoRAStorageOptions = {}): Promise<Told> {
  const node = await bench.open({ redis: server.url, memory: false, ...options });
  return { node, told: toldOf(node, 'redis') };
}

async function savedBy(node: LoRAStorage): Promise<string> {
  const userId = await bench.user();
  await node.saveAdapter(smallAdapter(userId, 1));
  return userId;
}

/**
 * Whatever Redis says: what is loaded is true and what is saved is committed. Each of two writes to Redis is an error
 * where it refuses them; where nobody is let in, the first call is, if only that of health(), and the others are not made.
 */
async function worksWithout(
  { node, told }: Told,
  known: string,
  errorsAtLeast = 1,
  { errors } = node.cacheStats().redis,
): Promise<void> {
  const userId = await bench.user();
  expect(await versionAt(node, known)).toBe(1);
  expect(await versionAt(node, userId)).toBe('ADAPTER_NOT_FOUND');
  expect(await node.saveAdapter(smallAdapter(userId, 1))).toBe(1);
  expect(await node.saveAdapter(smallAdapter(userId, 2))).toBe(2);
  expect(await node.loadAdapterInfo(userId)).toMatchObject({ version: 2, stale: false });
  expect(await node.loadAdapters([{ userId: known }, { userId }])).toMatchObject([{ userId: known }, { userId }]);
  await waitFor(() => node.cacheStats().redis.errors >= errors + errorsAtLeast);
  expect(told).toEqual(['degraded']);
}

/** Redis serves again, and the tier says so. */
async function recovers({ node, told }: Told, timeoutMs = 10_000): Promise<void> {
  const userId = await savedBy(node);
  await waitFor(async () => (await node.loadAdapterInfo(userId)).tier === 'redis', { timeoutMs });
  await waitFor(async () => {
    // What is granted is told of when nothing was denied for a while.
    if (!told.includes('recovered')) await savedBy(node);
    return told.includes('recovered');
  });
  expect(told).toEqual(['degraded', 'recovered']);
  expect((await node.health()).redis).toBe('up');
}

/** Every connection but the one that asks. */
const hangUp = async () => {
  for (const type of ['normal', 'pubsub']) await admin.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
};

async function follow(): Promise<void> {
  const master = await startRedis({ 'repl-diskless-sync-delay': '0' });
  owned.push(master);
  await admin.replicaof('127.0.0.1', master.port);
  await waitFor(async () => (await admin.info('replication')).includes('master_link_status:up'));
}

/** Answered when it has loaded, so it is not waited for. */
async function load(): Promise<void> {
  await fill();
  redis.raw.call('DEBUG', 'RELOAD').catch(() => undefined);
  await loading();
}

/** Of noise, since what can be compressed would be loaded at once. */
async function fill(): Promise<void> {
  const pipeline = redis.raw.pipeline();
  for (let i = 0; i < FILLING; i++) pipeline.set(`filling ${i}`, randomBytes(2048));
  await pipeline.exec();
}

const loading = () =>
  waitFor(() =>
    admin.ping().then(
      () => false,
      (error) => error.message.startsWith('LOADING'),
    ),
  );

/** 'up' where it is asked and answers, if only to refuse what is to be kept. */
const refusals: [what: string, health: 'up' | 'down', spoil: () => Promise<unknown>, mend: () => Promise<unknown>][] = [
  [
    'OOM: full, and nothing may be evicted',
    'up',
    () => admin.config('SET', 'maxmemory', '1'),
    () => admin.config('SET', 'maxmemory', '0'),
  ],
  ['READONLY: a replica of another', 'up', () => follow(), () => admin.replicaof('NO', 'ONE')],
  [
    'MASTERDOWN: a replica that has lost its master',
    'down',
    async () => {
      await admin.config('SET', 'replica-serve-stale-data', 'no');
      await admin.replicaof('127.0.0.1', '1');
    },
    () => admin.replicaof('NO', 'ONE'),
  ],
  [
    'NOAUTH: a password was set, and connections are new',
    'down',
    async () => {
      await admin.config('SET', 'requirepass', PASSWORD);
      await hangUp();
    },
    () => admin.config('SET', 'requirepass', ''),
  ],
  [
    'NOPERM: it may read and nothing else',
    'up',
    () => admin.call('ACL', 'SETUSER', 'default', '-set', '-evalsha', '-eval', '-setrange', '-del', '-unlink'),
    () => admin.call('ACL', 'SETUSER', 'default', '+@all'),
  ],
  ['LOADING: it loads while connections stay', 'down', () => load(), () => admin.config('SET', 'key-load-delay', '0')],
];

describe('a Redis that refuses', () => {
  test.each(refusals)('%s', async (what, health, spoil, mend) => {
    const given = await open();
    const known = await savedBy(given.node);
    await waitFor(() => redis.holds(known, 1));
    const before = given.node.cacheStats().redis;
    await spoil();
    await waitFor(async () => (await given.node.health()).redis === health);
    if (what.startsWith('NOAUTH')) await worksWithout(given, known, 1, before);
    else await worksWithout(given, known, 2);
    expect((await given.node.health()).redis).toBe(health);
    await mend();
    await recovers(given);
  });
});

describe('a Redis that permits all but one command', () => {
  const commands = [
    'get',
    'mget',
    'set',
    'getrange',
    'setrange',
    'del',
    'eval',
    'evalsha',
    'unlink',
    'ping',
    'publish',
    'subscribe',
  ];

  test.each(commands)('%s: loads are right, and nothing is told of or counted with each', async (command) => {
    await admin.call('ACL', 'SETUSER', 'default', `-${command}`);
    // Where nobody may fill, each load waits for the token of another for that long.
    const quick = { redisTimeoutMs: 150 };
    const { node, told } = await open(quick);
    const other = await bench.open({ redis: server.url, memory: false, ...quick });
    const users = await Promise.all([savedBy(other), savedBy(other)]);
    const ends = (version: number | string) =>
      waitFor(async () => (await Promise.all(users.map((each) => versionAt(node, each)))).every((v) => v === version));
    for (const version of [2, 3]) {
      for (const userId of users) {
        // Read, and read again over what the first one left; then saved by one and read by the other.
        expect([await versionAt(node, userId), await versionAt(node, userId)]).toEqual([version - 1, version - 1]);
        const saver = version === 2 ? node : other;
        expect(await saver.saveAdapter(smallAdapter(userId, version))).toBe(version);
        expect(await versionAt(saver, userId)).toBe(version);
      }
      await ends(version);
      const keys = users.map((userId) => ({ userId }));
      expect(await node.loadAdapters(keys)).toMatchObject(keys);
    }
    for (const userId of users) await other.deleteAdapter(userId);
    await ends('ADAPTER_NOT_FOUND');
    const { hits, misses, errors } = node.cacheStats().redis;
    expect(Math.min(hits, misses)).toBeGreaterThanOrEqual(0);
    expect(errors).toBeLessThan(100);
    expect(told.length).toBeLessThan(6);
    await Promise.all([node.close(), other.close()]);
  });

  test('get: a load asks once, and then Postgres', async () => {
    const { node, told } = await open();
    const known = await savedBy(node);
    await waitFor(() => redis.holds(known, 1));
    await admin.call('ACL', 'SETUSER', 'default', '-get');
    const { errors } = node.cacheStats().redis;
    expect(await node.loadAdapterInfo(known)).toMatchObject({ version: 1, tier: 'postgres' });
    expect(node.cacheStats().redis).toMatchObject({ hits: 0, misses: 0, errors: errors + 1 });
    expect(told).toEqual(['degraded']);
  });

  test('getrange: what a script may not read it does not replace by something older', async () => {
    const { node } = await open();
    const known = await savedBy(node);
    await waitFor(() => redis.holds(known, 1));
    await admin.call('ACL', 'SETUSER', 'default', '-getrange');
    await node.saveAdapter(smallAdapter(known, 2));
    await waitFor(() => node.cacheStats().redis.errors > 0);
    expect(await redis.holds(known, 1)).toBe(true);
    expect(await versionAt(node, known)).toBe(2);
  });
});

test.each([
  ['the command', '-subscribe', /subscribe/],
  ['the channels', 'resetchannels', /channel/],
])('a subscription that is not permitted, by %s, is told of in the words of Redis', async (_, rule, what) => {
  await admin.call('ACL', 'SETUSER', 'default', rule);
  const causes: Error[] = [];
  const hear = (message: unknown) => {
    const { tier, cause } = message as { tier: string; cause: Error };
    if (tier === 'bus') causes.push(cause);
  };
  subscribe('lora-store:degraded', hear);
  const { node } = await open();
  unsubscribe('lora-store:degraded', hear);
  expect(causes).toMatchObject([
    { message: expect.stringMatching(/^Redis refuses the subscription: NOPERM/), cause: { name: 'ReplyError' } },
  ]);
  expect(causes[0]?.message).toMatch(what);
  expect(await node.health()).toMatchObject({ redis: 'up', bus: 'down' });
});

test('bytes that are refused and may not be removed are looked at once in each load', async () => {
  const { node } = await open();
  const corrupt: string[] = [];
  node.on('corrupt', ({ reason }) => corrupt.push(reason));
  const known = await savedBy(node);
  await waitFor(() => redis.holds(known, 1));
  await redis.raw.set(`${bench.namespace}:v1:{${known}}:default`, 'no entry');
  await admin.call('ACL', 'SETUSER', 'default', '-del');
  expect(await node.loadAdapterInfo(known)).toMatchObject({ version: 1, tier: 'postgres' });
  expect(corrupt).toHaveLength(1);
  expect(node.cacheStats().redis).toMatchObject({ corrupt: 1, misses: 0 });
});

test('a restarted Redis that takes its time to load is used soon after it is done, whatever time it guessed', async () => {
  const given = await open();
  const known = await savedBy(given.node);
  await waitFor(() => redis.holds(known, 1));
  await fill();
  await admin.config('SET', 'save', '3600 1000000');
  await redis.raw.call('SAVE');
  const before = given.node.cacheStats().redis;
  const whileItLoads = async () => {
    await loading();
    // Counted from before the kill: this call may be the only one that is made, and fails.
    expect((await given.node.health()).redis).toBe('down');
    await worksWithout(given, known, 1, before);
    expect((await given.node.health()).redis).toBe('down');
    await admin.config('SET', 'key-load-delay', '0');
  };
  await Promise.all([server.restart(), whileItLoads()]);
  // ioredis alone would ask again when that time is over, or after 10 s.
  await recovers(given, 5000);
});

test('a wrong password from the start: the storage opens, works without, and is let in when the password is right', async () => {
  await admin.config('SET', 'requirepass', PASSWORD);
  await admin.auth(PASSWORD);
  const url = new URL(server.url);
  url.password = 'right from now on';
  const given = await open({ redis: url.toString() });
  const before = given.node.cacheStats().redis;
  expect(await given.node.health()).toMatchObject({ redis: 'down', bus: 'down' });
  const other = await bench.open({ redis: false });
  await worksWithout(given, await savedBy(other), 1, before);
  await admin.config('SET', 'requirepass', decodeURIComponent(url.password));
  await recovers(given);
  await waitFor(async () => (await given.node.health()).bus === 'live');
});

test('a Redis that evicts whatever it holds: every load is true, every save is kept, and nothing is an error', async () => {
  const used = Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1]);
  const { node, told } = await open();
  const users = await Promise.all(Array.from({ length: 60 }, () => bench.user()));
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
  await admin.config('SET', 'maxmemory', String(used + 1_000_000));
  for (const seed of [1, 2]) {
    for (const userId of users) await node.saveAdapter(new UserLoRAAdapter(userId).initializeRandom(seed));
    for (const userId of users) expect((await node.loadAdapterInfo(userId)).version).toBe(seed);
  }
  const evicted = Number(/evicted_keys:(\d+)/.exec(await admin.info('stats'))?.[1]);
  expect(evicted).toBeGreaterThan(users.length);
  expect(told).toEqual([]);
  expect(node.cacheStats().redis).toMatchObject({ errors: 0, corrupt: 0 });
});

test('a Redis that is slow within its budget costs a load no second one, and is not given up for it', async () => {
  const proxy = await proxyTo(server.url);
  const redisTimeoutMs = 3000;
  const { node, told } = await open({ redis: proxy.url(server.url), redisTimeoutMs });
  const userId = await savedBy(await bench.open({ redis: false }));
  proxy.delay(0.6 * redisTimeoutMs);
  // Its GET is answered late, and the answer to its token would come when the time of the load is over.
  expect(await node.loadAdapterInfo(userId)).toMatchObject({ version: 1, tier: 'postgres' });
  expect(node.cacheStats().redis).toMatchObject({ errors: 1, timeouts: 1 });
  proxy.delay(0);
  // It is asked at once: over the token, which arrived unheard, or over one of its own the next load fills.
  await waitFor(async () => {
    expect(await node.loadAdapterInfo(userId)).toMatchObject({ version: 1 });
    return await redis.holds(userId, 1);
  });
  expect([told, node.cacheStats().redis.timeouts]).toEqual([[], 1]);
  await node.close();
  await proxy.close();
});
