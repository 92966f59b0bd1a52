/** The connection that listens: one of its own beside any pool, found dead when it is killed, and replaced with a gap. */
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { endPool } from '../../support/pools.js';
import { useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { earIs, insertAdapters, proxyTo, versionAt } from './support.js';

const bench = useStorage();

/** Outlasts the tests: only the ear can tell. */
const maxStalenessMs = 600_000;

async function ears(): Promise<number[]> {
  const rows = await bench.sql<{ pid: number }>(
    `select pid from pg_stat_activity
     where datname = current_database() and application_name = 'lora-store change feed' order by pid`,
  );
  return rows.map(({ pid }) => pid);
}

/** An adapter that the memory of the node would serve. */
async function trustedUser(node: LoRAStorage): Promise<string> {
  const [userId] = (await insertAdapters(bench, 1)) as [string];
  expect(await versionAt(node, userId)).toBe(1);
  expect(node.peekAdapter(userId)).toBeDefined();
  return userId;
}

const addVersion = (userId: string, version: number) =>
  bench.sql(
    `insert into lora_adapters (user_id, version, weights, size_bytes)
     select user_id, $2, weights, size_bytes from lora_adapters where user_id = $1 and version = $2 - 1`,
    [userId, version],
  );

test('it is no connection of the pool, and hears while all of those are taken', async () => {
  const pool = new pg.Pool({ connectionString: bench.postgresUrl, max: 1 });
  const node = await bench.open({ postgres: pool, redis: false, maxStalenessMs });
  const userId = await trustedUser(node);
  const [pid, ...others] = await ears();
  expect(others).toEqual([]);
  const taken = await pool.connect();
  const { rows } = await taken.query<{ pid: number }>('select pg_backend_pid() as pid');
  expect(rows[0]?.pid).not.toBe(pid);
  expect([pool.totalCount, pool.idleCount]).toEqual([1, 0]);
  await addVersion(userId, 2);
  await waitFor(() => node.peekAdapter(userId) === undefined);
  taken.release();
  expect(await versionAt(node, userId)).toBe(2);
  await node.close();
  await waitFor(async () => (await ears()).length === 0);
  await endPool(pool);
});

describe.each([
  ['bus and change feed', {}],
  ['the change feed alone, Redis off', { redis: false }],
] as const)('with %s', (_, options) => {
  test('killed by pg_terminate_backend: replaced, and what it did not hear is not served', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const postgres = { primary: bench.postgresUrl, direct: proxy.url(bench.postgresUrl) };
    const node = await bench.open({ ...options, postgres, maxStalenessMs });
    const [changed, untouched] = [await trustedUser(node), await trustedUser(node)];
    const [pid] = await ears();
    // Told before the first attempt to replace it: the gap is there until we say otherwise.
    node.on('degraded', ({ tier }) => tier === 'change-feed' && proxy.cut());
    await bench.sql('select pg_terminate_backend($1)', [pid]);
    await earIs(node, 'down');
    await addVersion(changed, 2);
    proxy.heal();
    await earIs(node, 'live');
    const [other, ...more] = await ears();
    expect(more).toEqual([]);
    expect(other).not.toBe(pid);
    for (const userId of [changed, untouched]) expect(node.peekAdapter(userId)).toBeUndefined();
    expect(await versionAt(node, changed)).toBe(2);
    expect(await node.loadAdapterInfo(untouched)).toMatchObject({ version: 1, tier: 'memory' });
    await addVersion(changed, 3);
    await waitFor(async () => (await versionAt(node, changed)) === 3);
    await node.close();
    await proxy.close();
  });
});
