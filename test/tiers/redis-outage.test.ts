/** What an outage of Redis costs: one timeout, then nothing until Redis answers again. An answer is no outage, if no help either. */
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RedisTier } from '../../src/tiers/redis.js';
import { connectRedis, type RedisConnections } from '../../src/tiers/redis-client.js';
import { type FaultProxy, startProxy } from '../support/proxy.js';
import { type OwnServer, redisNamespace, startRedis } from '../support/redis.js';
import { waitFor } from '../support/wait.js';
import { entryOf, gist, newKey } from './support.js';

/** What a Redis that answers keeps within, on a busy machine too. */
const BUDGET_MS = 500;

let server: OwnServer;
let proxy: FaultProxy;
let connections: RedisConnections;
let raw: Redis;
let states: string[];
let tier: RedisTier;

async function connect(timeoutMs: number): Promise<void> {
  connections = await connectRedis(proxy.url(server.url), timeoutMs);
  states = [];
  tier = new RedisTier(
    connections.client,
    { namespace: redisNamespace(), timeoutMs, ttlMs: 60_000 },
    {
      corrupt: () => states.push('corrupt'),
      degraded: () => states.push('degraded'),
      recovered: () => states.push('recovered'),
    },
  );
}

beforeEach(async () => {
  server = await startRedis();
  proxy = await startProxy(server.port);
  raw = new Redis(server.url);
});
afterEach(async () => {
  // A connection that is mute would be waited for.
  proxy?.cut();
  await connections?.close();
  raw?.disconnect();
  await proxy?.close();
  await server?.stop();
});

/** Reads until one is answered by what `key` holds. */
const answers = (key = newKey()) =>
  waitFor(async () => {
    await tier.write(key, entryOf(key, 1));
    return (await tier.read(key)).entry;
  });

/** Connected, with whatever a slow start has cost behind it. */
async function ready(key = newKey()): Promise<void> {
  await connect(BUDGET_MS);
  await answers(key);
  states.length = 0;
}

describe('silence', () => {
  test('one read waits for the budget, the next ones do not wait at all', async () => {
    await ready();
    proxy.mute();
    const { errors, timeouts } = tier;
    const lost = proxy.lostBytes;
    expect(await tier.read(newKey())).toEqual({ entry: undefined, seen: undefined });
    expect([tier.errors - errors, tier.timeouts - timeouts]).toEqual([1, 1]);
    const sent = proxy.lostBytes;
    expect(sent).toBeGreaterThan(lost);
    for (let i = 0; i < 50; i++) {
      const key = newKey();
      await tier.read(key);
      await tier.claim(key);
      await tier.write(key, entryOf(key, 1));
      await tier.clear(key, 1);
    }
    // No more than the trials of a breaker that is open could have sent.
    expect(tier.timeouts - timeouts).toBeLessThanOrEqual(3);
    expect(states).toEqual(['degraded']);
  });

  test('a breaker that opened closes again by itself when Redis answers, and says so once', async () => {
    const key = newKey();
    await ready(key);
    proxy.mute();
    const { timeouts } = tier;
    await waitFor(async () => {
      await tier.read(key);
      return tier.timeouts >= timeouts + 2;
    });
    proxy.heal();
    expect(gist(await answers(key))).toEqual(gist(entryOf(key, 1)));
    expect(states).toEqual(['degraded', 'recovered']);
  });

  test('a ping goes past the breaker as every call: it opens it, and closes it when Redis answers', async () => {
    await ready();
    const { errors } = tier;
    proxy.mute();
    await expect(tier.ping()).rejects.toThrow(`Redis did not answer within ${BUDGET_MS} ms`);
    expect([tier.breaker, tier.errors - errors, states]).toEqual(['open', 1, ['degraded']]);
    // Nobody is asked now, and that is no failure.
    await expect(tier.ping()).rejects.toThrow();
    expect(tier.errors - errors).toBe(1);
    proxy.heal();
    await waitFor(() =>
      tier.ping().then(
        () => true,
        () => false,
      ),
    );
    expect([tier.breaker, states]).toEqual(['closed', ['degraded', 'recovered']]);
  });

  test('a call that was not made is not an error', async () => {
    await ready();
    proxy.mute();
    await tier.read(newKey());
    const { errors } = tier;
    // At once after the failure: the breaker is open, and a first trial is a quarter of a second away.
    await Promise.all(Array.from({ length: 20 }, () => tier.read(newKey())));
    expect(tier.errors).toBe(errors);
  });
});

test('a server that is gone costs no call a timeout, and its return needs nothing of the caller', async () => {
  await connect(2000);
  const key = newKey();
  await answers(key);
  await server.kill();
  await waitFor(() => connections.client.status !== 'ready');
  for (let i = 0; i < 20; i++) expect((await tier.read(key)).entry).toBeUndefined();
  expect(tier.timeouts).toBe(0);
  await server.restart();
  expect(gist(await answers(key))).toEqual(gist(entryOf(key, 1)));
  expect(states).toEqual(['degraded', 'recovered']);
});

describe('an answer that is an error', () => {
  test.each<[code: string, spoil: () => Promise<unknown>, mend: () => Promise<unknown>]>([
    ['READONLY', () => raw.replicaof('127.0.0.1', '1'), () => raw.replicaof('NO', 'ONE')],
    ['OOM', () => raw.config('SET', 'maxmemory', '1'), () => raw.config('SET', 'maxmemory', '0')],
    ['NOAUTH', () => lockOut(), () => raw.config('SET', 'requirepass', '')],
  ])('costs a round trip and no breaker: %s', async (_, spoil, mend) => {
    await connect(2000);
    const key = newKey();
    await answers(key);
    await spoil();
    const { errors } = tier;
    const other = newKey();
    await tier.write(other, entryOf(other, 1));
    expect(tier.errors).toBe(errors + 1);
    expect(await tier.claim(newKey())).toBeUndefined();
    expect(tier.errors).toBe(errors + 2);
    await mend();
    expect(states).toEqual(['degraded']);
    // At once: no pause of a breaker stands between.
    await tier.write(other, entryOf(other, 2));
    expect((await tier.read(other)).entry?.revision).toBe(2);
    expect(states).toEqual(['degraded', 'recovered']);
    expect(tier.timeouts).toBe(0);
  });

  test('is over when what was refused is granted, and not when something easier is', async () => {
    await connect(2000);
    const [key, other] = [newKey(), newKey()];
    await answers(key);
    await raw.config('SET', 'maxmemory', '1');
    await tier.write(other, entryOf(other, 1));
    expect(states).toEqual(['degraded']);
    // A full Redis reads and removes.
    await tier.clear(key, 2);
    await tier.read(other);
    await tier.clear(other, 2);
    expect(await raw.dbsize()).toBe(0);
    expect(states).toEqual(['degraded']);
    await raw.config('SET', 'maxmemory', '0');
    await tier.write(other, entryOf(other, 1));
    expect(states).toEqual(['degraded', 'recovered']);
  });

  test('is not over when a script found nothing to do, which a replica lets pass', async () => {
    await connect(2000);
    const [key, other] = [newKey(), newKey()];
    await answers(key);
    await tier.write(key, entryOf(key, 5));
    await raw.replicaof('127.0.0.1', '1');
    await tier.clear(key, 6);
    expect(states).toEqual(['degraded']);
    await tier.clear(other, 6);
    await tier.write(key, entryOf(key, 1));
    await tier.fill(key, Buffer.from('gone'), entryOf(key, 6));
    expect(tier.fenced).toBe(2);
    expect(states).toEqual(['degraded']);
    await raw.replicaof('NO', 'ONE');
    await tier.clear(key, 6);
    expect(states).toEqual(['degraded', 'recovered']);
  });

  test('and silence on top of it is the same trouble, told of once and over when both are', async () => {
    await ready();
    const { timeouts } = tier;
    await raw.config('SET', 'maxmemory', '1');
    await tier.claim(newKey());
    proxy.mute();
    await tier.read(newKey());
    expect([states, tier.timeouts - timeouts]).toEqual([['degraded'], 1]);
    proxy.heal();
    await waitFor(async () => {
      const { errors } = tier;
      await tier.claim(newKey());
      return tier.errors > errors && tier.timeouts > timeouts && connections.client.status === 'ready';
    });
    await waitFor(async () => {
      const { errors, misses } = tier;
      await tier.read(newKey());
      return tier.errors === errors && tier.misses > misses;
    });
    expect(states).toEqual(['degraded']);
    await raw.config('SET', 'maxmemory', '0');
    expect(await tier.claim(newKey())).toBeDefined();
    expect(states).toEqual(['degraded', 'recovered']);
  });

  test('in readMany a refused token costs no second question, and is counted once', async () => {
    await connect(2000);
    const keys = [newKey(), newKey()] as const;
    await answers(keys[0]);
    await raw.replicaof('127.0.0.1', '1');
    const [{ errors }, commands] = [tier, await commandsSoFar()];
    const found = await tier.readMany(keys);
    expect(found.map(({ entry, seen }) => [entry?.revision, seen !== undefined])).toEqual([
      [1, true],
      [undefined, false],
    ]);
    expect(tier.errors).toBe(errors + 1);
    expect((await commandsSoFar()).get).toBe(commands.get);
    expect(states).toEqual(['degraded']);
  });

  async function commandsSoFar(): Promise<Record<string, string>> {
    const lines = (await raw.info('commandstats')).matchAll(/cmdstat_(\S+):calls=(\d+)/g);
    return Object.fromEntries([...lines].map(([, name, calls]) => [name, calls]));
  }

  /** Whoever is connected stays logged in as he is, unless he has to begin anew. */
  async function lockOut(): Promise<void> {
    await raw.config('SET', 'requirepass', 'secret');
    await raw.auth('secret');
    await connections.client.call('RESET').catch(() => undefined);
  }
});

test('close while Redis is away waits for no end: there is none to come', async () => {
  await connect(BUDGET_MS);
  await connections.subscriber.connect();
  await server.kill();
  const clients = [connections.client, connections.subscriber];
  await waitFor(() => clients.every(({ status }) => status === 'reconnecting'), { intervalMs: 1 });
  await connections.close();
  expect(clients.map((client) => client.listenerCount('end'))).toEqual([0, 0]);
  await server.restart();
  expect(clients.map(({ status }) => status)).not.toContain('ready');
});
