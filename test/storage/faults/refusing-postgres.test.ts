/**
 * Postgres that answers, but not with what was asked, and a pool that has no connection to ask with: an error in time for
 * who has to know, a stale entry for who can do with it, and no breaker that would outlast the trouble.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import type { LoRAStorageOptions, PostgresSource } from '../../../src/options.js';
import { migrate } from '../../../src/postgres/migrate.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { endPool } from '../../support/pools.js';
import { startPostgres } from '../../support/postgres.js';
import { redisUrl } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { codeOf, holdHeads, SLACK_MS, versionAt } from './support.js';
import { toldOf } from './told.js';

const bench = useStorage();

/** What it has in memory has to be verified soon. */
const open = (postgres: PostgresSource, options: LoRAStorageOptions): Promise<LoRAStorage> =>
  bench.open({ postgres, maxStalenessMs: 300, createMissingUsers: true, ...options });

describe('a server that answers that it cannot', () => {
  const impatient = () => new pg.Pool({ connectionString: bench.postgresUrl, options: '-c statement_timeout=300' });

  // Ours waits half its budget for a lock; a caller's pool may bring limits of its own.
  test.each([
    ['lock_timeout', /55P03.*holds the row/],
    ['statement_timeout', /57014.*postgresTimeoutMs/],
  ])('in time: %s', async (limit, message) => {
    const pool = limit === 'lock_timeout' ? undefined : impatient();
    const patient = { redis: false as const, postgresTimeoutMs: 2500 };
    const node = await open(pool ?? bench.postgresUrl, { ...patient, changeFeed: false });
    const listener = await open(pool ?? bench.postgresUrl, { ...patient, maxStalenessMs: 20_000 });
    const kept = await bench.user();
    await node.saveAdapter(smallAdapter(kept));
    await listener.loadAdapter(kept);
    const told = toldOf(node, 'postgres');
    const held = await holdHeads(bench.postgresUrl);
    const loads = Array.from({ length: 4 }, () => node.loadAdapter(randomUUID()).catch((reason) => reason));
    for (const error of await Promise.all(loads)) {
      expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', message: expect.stringMatching(message) });
    }
    await waitFor(async () => (await node.loadAdapterInfo(kept)).stale);
    expect(await listener.loadAdapterInfo(kept)).toMatchObject({ tier: 'memory', stale: false });
    expect(await codeOf(node.saveAdapter(smallAdapter(kept, 2)))).toBe('STORAGE_UNAVAILABLE');
    await held.release();
    // It answered all the time: no breaker stands between.
    expect(await versionAt(node, randomUUID())).toBe('ADAPTER_NOT_FOUND');
    expect(await node.loadAdapterInfo(kept)).toMatchObject({ version: 1, stale: false });
    expect(told).toEqual([]);
    await Promise.all([node.close(), listener.close()]);
    await endPool(pool);
  });

  const modes: LoRAStorageOptions[] = [
    { redis: redisUrl() },
    { redis: false },
    { redis: redisUrl(), changeFeed: false },
    { redis: false, changeFeed: false },
  ];

  test('after a failover to a server that is read-only: loads go on, no write does, until it is promoted', async () => {
    const nodes = await Promise.all(modes.map((mode) => open(bench.postgresUrl, mode)));
    const known = await bench.user();
    await (nodes[0] as LoRAStorage).saveAdapter(smallAdapter(known, 1));
    await (nodes[0] as LoRAStorage).saveAdapter(smallAdapter(known, 2));
    const failOver = async (readOnly: 'on' | 'off') => {
      const { database } = new pg.Client(bench.postgresUrl);
      await bench.sql(`alter database ${database} set default_transaction_read_only = ${readOnly}`);
      await bench.sql(`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name like 'lora-store%'`);
    };
    await failOver('on');
    for (const node of nodes) {
      await waitFor(async () => (await node.loadAdapterInfo(known)).version === 2);
      await waitFor(async () => (await node.health()).changeFeed !== 'down');
      expect(await node.loadAdapterInfo(known)).toMatchObject({ version: 2, stale: false });
      expect(await versionAt(node, randomUUID())).toBe('ADAPTER_NOT_FOUND');
      const writes: (() => Promise<unknown>)[] = [
        () => node.saveAdapter(smallAdapter(known, 3)),
        () => node.saveAdapter(smallAdapter(known, 3), 'default', { expectedVersion: 2 }),
        () => node.saveAdapter(smallAdapter(randomUUID())),
        () => node.rollbackAdapter(known, 'default', 1),
        () => node.deleteAdapter(known),
        () => node.pruneVersions({ keepLatest: 1, userId: known }),
      ];
      for (const write of writes) {
        const error = await write().catch((reason) => reason);
        expect(error).toMatchObject({
          code: 'STORAGE_UNAVAILABLE',
          message: expect.stringContaining('default_transaction_read_only'),
        });
      }
      expect(await node.loadAdapterInfo(known)).toMatchObject({ version: 2, stale: false });
      expect(await node.countAdapters(known)).toBe(2);
    }
    await failOver('off');
    for (const [i, node] of nodes.entries()) {
      expect(await waitFor(() => node.saveAdapter(smallAdapter(known, 3)))).toBe(3 + i);
      expect(await node.loadAdapterInfo(known)).toMatchObject({ version: 3 + i, stale: false });
      await node.close();
    }
  });
});

describe('a pool whose connections are all taken', () => {
  /** Of a caller who has taken the only one for himself. */
  async function taken(options: LoRAStorageOptions) {
    const pool = new pg.Pool({ connectionString: bench.postgresUrl, max: 1 });
    const alone = { redis: false, changeFeed: false, postgresTimeoutMs: 400 } as const;
    const node = await open(pool, { ...alone, ...options });
    const kept = await bench.user();
    await node.saveAdapter(smallAdapter(kept));
    const told = toldOf(node, 'postgres');
    const client = await pool.connect();
    const close = async () => {
      await node.close();
      await endPool(pool);
    };
    return { node, kept, told, giveBack: () => client.release(), close };
  }

  test('is no sign of a dead server: calls end in time, and the first one after that is served', async () => {
    const { node, kept, told, giveBack, close } = await taken({});
    const begun = performance.now();
    const misses = await Promise.all(Array.from({ length: 5 }, () => versionAt(node, randomUUID())));
    expect(performance.now() - begun).toBeLessThan(400 + SLACK_MS);
    expect(misses).toEqual(Array(5).fill('STORAGE_UNAVAILABLE'));
    await waitFor(async () => (await node.loadAdapterInfo(kept)).stale);
    expect(await codeOf(node.saveAdapter(smallAdapter(kept, 2)))).toBe('STORAGE_UNAVAILABLE');
    giveBack();
    expect(await versionAt(node, randomUUID())).toBe('ADAPTER_NOT_FOUND');
    expect(await node.saveAdapter(smallAdapter(kept, 2))).toBe(2);
    expect(told).toEqual([]);
    await close();
  });

  test('and a full queue as well: who has a stale entry is served it, for as long as was agreed, and the rest is refused', async () => {
    const { node, kept, told, giveBack, close } = await taken({ maxQueue: 0, staleIfErrorMs: 1000 });
    expect(await versionAt(node, randomUUID())).toBe('STORAGE_OVERLOADED');
    const { version, tier } = await waitFor(async () => {
      const info = await node.loadAdapterInfo(kept);
      return info.stale && info;
    });
    expect([version, tier]).toEqual([1, 'memory']);
    expect(await node.loadAdapters([{ userId: kept }])).toMatchObject([{ userId: kept }]);
    expect(await codeOf(node.loadAdapters([{ userId: kept }, { userId: randomUUID() }]))).toBe('STORAGE_OVERLOADED');
    expect(await codeOf(node.saveAdapter(smallAdapter(kept, 2)))).toBe('STORAGE_OVERLOADED');
    await waitFor(async () => (await versionAt(node, kept)) === 'STORAGE_OVERLOADED');
    giveBack();
    expect(await node.loadAdapterInfo(kept)).toMatchObject({ version: 1, stale: false });
    expect(told).toEqual([]);
    await close();
  });
});

test('a server without a connection left is no outage for a node that has one: all are answered through that', async () => {
  const server = await startPostgres();
  const admin = new pg.Pool({ connectionString: server.url });
  try {
    await migrate({ postgres: server.url });
    // Refused beyond the first, as everybody is where max_connections is reached.
    await admin.query(`create role few login password 'few' connection limit 1`);
    await admin.query(`grant all on all tables in schema public to few`);
    const url = new URL(server.url);
    Object.assign(url, { username: 'few', password: 'few' });
    const node = await open(url.toString(), { redis: false, changeFeed: false, memory: false });
    const told = toldOf(node, 'postgres');
    const users = Array.from({ length: 8 }, () => randomUUID());
    for (const each of users) await node.saveAdapter(smallAdapter(each));
    for (let burst = 0; burst < 3; burst++) {
      expect(await Promise.all(users.map((each) => versionAt(node, each)))).toEqual(Array(8).fill(1));
    }
    expect(node.cacheStats().postgres).toMatchObject({ breaker: 'closed', errors: 0, pool: { size: 1, max: 10 } });
    expect(await node.health()).toMatchObject({ postgres: 'up' });
    expect(told).toEqual([]);
    await node.close();
  } finally {
    await endPool(admin);
    await server.stop();
  }
});
