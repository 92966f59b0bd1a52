/**
 * No storm after a reconnect: with 10,000 adapters in memory nobody asks for a head before it is used, heads are asked for
 * in batches where adapters are used in batches, and no body is fetched that has not changed.
 */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { endPool } from '../../support/pools.js';
import type { FaultProxy } from '../../support/proxy.js';
import { redisUrl } from '../../support/redis.js';
import { useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { breakOff } from './far-node.js';
import { countingPool, earIs, insertAdapters, proxyTo, versionAt } from './support.js';

const COUNT = 10_000;
const BATCH = 500;
/** Of the smallest record: a head alone is shorter, and a body in hex twice as long. */
const BODY_BYTES = 148;

const bench = useStorage();
let users: string[];

beforeAll(async () => {
  users = await insertAdapters(bench, COUNT);
});

/** Outlasts the test: what is verified stays so. */
const maxStalenessMs = 600_000;
const keysOf = (some: readonly string[]) => some.map((userId) => ({ userId }));

describe.each([
  ['bus and change feed', {}],
  ['the change feed alone, Redis off', { redis: false }],
] as const)('with %s', (_, options) => {
  let node: LoRAStorage;
  let ear: FaultProxy;
  let pool: pg.Pool;
  let sent: string[];
  const clients: pg.Client[] = [];
  /** What Postgres has answered to the pool so far. */
  const received = () =>
    clients.reduce(
      (sum, { connection }) => sum + (connection as unknown as { stream: { bytesRead: number } }).stream.bytesRead,
      0,
    );

  beforeAll(async () => {
    ear = await proxyTo(bench.postgresUrl);
    ({ pool, sent } = countingPool(bench.postgresUrl, 2));
    pool.on('connect', (client) => clients.push(client as pg.Client));
    const postgres = { primary: pool, direct: ear.url(bench.postgresUrl) };
    node = await bench.open({ ...options, postgres, maxStalenessMs });
    await node.loadAdapters(keysOf(users));
    expect(node.cacheStats().memory.entries).toBe(COUNT);
  });
  afterAll(async () => {
    await node?.close();
    await Promise.all([endPool(pool), ear?.close()]);
  });

  /** Cuts the ear, adds a version to one adapter unheard, and lets it listen again: nothing is asked for that. */
  async function reconnect(changed: string): Promise<number> {
    sent.length = 0;
    ear.cut();
    await earIs(node, 'down');
    const [added] = await bench.sql<{ version: number }>(
      `insert into lora_adapters (user_id, version, weights, size_bytes)
       select user_id, version + 1, weights, size_bytes from lora_adapters where user_id = $1
       order by version desc limit 1 returning version`,
      [changed],
    );
    ear.heal();
    await earIs(node, 'live');
    for (const userId of users) expect(node.peekAdapter(userId)).toBeUndefined();
    // Its question stands in line behind whatever else might be asked.
    await node.health();
    expect(asked()).toEqual([]);
    return added?.version ?? 0;
  }

  const asked = () => sent.filter((name) => name !== 'ping');

  test('used together: one statement a call, and of the bodies only the one that changed', async () => {
    const changed = users[1234] as string;
    const version = await reconnect(changed);
    const { loads } = node.cacheStats().postgres;
    const before = received();
    for (let i = 0; i < COUNT; i += BATCH) await node.loadAdapters(keysOf(users.slice(i, i + BATCH)));
    expect(asked()).toEqual(Array.from({ length: COUNT / BATCH }, () => 'load_many'));
    expect(node.cacheStats().postgres.loads - loads).toBe(1);
    expect(received() - before).toBeLessThan(COUNT * BODY_BYTES);
    expect(await versionAt(node, changed)).toBe(version);
    // And now they count again.
    for (const userId of users) expect(node.peekAdapter(userId)).toBeDefined();
    expect(asked()).toHaveLength(COUNT / BATCH);
  });

  test('used one by one: each asks for its own head, once', async () => {
    const some = users.slice(0, 200);
    const changed = some[42] as string;
    const version = await reconnect(changed);
    const { loads } = node.cacheStats().postgres;
    const before = received();
    for (const userId of some) await node.loadAdapter(userId);
    for (const userId of some) expect((await node.loadAdapterInfo(userId)).tier).toBe('memory');
    expect(await versionAt(node, changed)).toBe(version);
    expect(asked()).toEqual(some.map(() => 'load'));
    expect(node.cacheStats().postgres.loads - loads).toBe(1);
    // An answer without a body has about 300 bytes on this path, and a body in hex adds as many.
    expect(received() - before).toBeLessThan(some.length * 3 * BODY_BYTES);
    // Those that nobody used are as they were.
    expect(node.peekAdapter(users.at(-1) as string)).toBeUndefined();
  });
});

test('with change feed off a bus that was away asks for nothing: what is in memory counts for its time', async () => {
  const bus = await proxyTo(redisUrl());
  const { pool, sent } = countingPool(bench.postgresUrl, 2);
  const some = users.slice(0, 1000);
  const node = await bench.open({ postgres: pool, redis: bus.url(redisUrl()), changeFeed: false, maxStalenessMs });
  await node.loadAdapters(keysOf(some));
  sent.length = 0;
  bus.cut();
  await waitFor(() => !node.cacheStats().bus.connected);
  breakOff(bus);
  await waitFor(() => node.cacheStats().bus.connected);
  await node.loadAdapters(keysOf(some));
  expect(sent).toEqual([]);
  await node.close();
  await Promise.all([endPool(pool), bus.close()]);
});
