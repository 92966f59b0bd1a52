/** examples/monitoring/queries.sql on a real Postgres that keeps statistics of statements, with what a real storage left there. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../../src/adapter/adapter.js';
import { migrate } from '../../../src/postgres/migrate.js';
import { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { endPool } from '../../support/pools.js';
import { type OwnServer, startPostgres } from '../../support/postgres.js';
import { root } from '../../support/root.js';
import { smallAdapter } from '../../support/storage.js';

let server: OwnServer;
let pool: pg.Pool;
let storage: LoRAStorage;

beforeAll(async () => {
  server = await startPostgres({ shared_preload_libraries: 'pg_stat_statements' });
  pool = new pg.Pool({ connectionString: server.url, max: 1 });
  await pool.query('create extension pg_stat_statements');
  await migrate({ postgres: server.url });
  storage = await LoRAStorage.open({ postgres: server.url, redis: false, createMissingUsers: true });
});
afterAll(async () => {
  await storage?.close();
  await endPool(pool);
  await server?.stop();
});

/** The statement below `-- name:`. */
function query(name: string): string {
  const file = readFileSync(join(root, 'examples', 'monitoring', 'queries.sql'), 'utf8');
  const statement = file.split(/^-- (?=[\w-]+: )/m).find((part) => part.startsWith(`${name}: `));
  if (statement === undefined) throw new Error(`queries.sql has no ${name}`);
  return `-- ${statement}`;
}

const rows = async (name: string) => (await pool.query(query(name))).rows;

test('the file is four statements that psql would run one after the other', async () => {
  const results = await pool.query(readFileSync(join(root, 'examples', 'monitoring', 'queries.sql'), 'utf8'));
  expect((results as unknown as pg.QueryResult[]).map(({ command }) => command)).toEqual([
    'SELECT',
    'SELECT',
    'SELECT',
    'SELECT',
  ]);
});

test('storage-use of no adapters is zeros, and of some what the storage itself says', async () => {
  expect(await rows('storage-use')).toMatchObject([{ total_adapters: '0', total_bytes: '0', avg_bytes: '0' }]);
  const users = [randomUUID(), randomUUID()];
  for (const userId of users) await storage.saveAdapter(smallAdapter(userId));
  await storage.saveAdapter(smallAdapter(users[0] ?? '', 2));
  const { totalAdapters, uniqueUsers, totalBytes, avgBytes } = await storage.getStorageStats();
  expect({ totalAdapters, uniqueUsers }).toEqual({ totalAdapters: 3, uniqueUsers: 2 });
  expect(await rows('storage-use')).toEqual([
    {
      total_adapters: String(totalAdapters),
      unique_users: String(uniqueUsers),
      total_bytes: String(totalBytes),
      avg_bytes: String(Math.round(avgBytes)),
      total_size: `${totalBytes} bytes`,
      size_on_disk: expect.stringMatching(/^\d+ kB$/),
    },
  ]);
});

test('most-versions: ten users at most, those with most versions first, and the name that has most of them', async () => {
  const users = Array.from({ length: 12 }, () => randomUUID());
  for (const [i, userId] of users.entries()) {
    await storage.saveAdapter(smallAdapter(userId), 'other');
    // From the fourth on: the tables hold rows of the test before.
    for (let version = 0; version < 4 + i; version++) await storage.saveAdapter(smallAdapter(userId, version), 'main');
  }
  const found = await rows('most-versions');
  const expected = users
    .map((user_id, i) => ({ user_id, version_count: String(5 + i), largest_name: 'main' }))
    .reverse()
    .slice(0, 10);
  expect(found.map(({ user_id, version_count, largest_name }) => ({ user_id, version_count, largest_name }))).toEqual(
    expected,
  );
  const [first] = await storage.listAdapters(users.at(-1) ?? '');
  expect(found[0].last_updated).toEqual(first?.updatedAt);
});

test('most-bytes: a user of few large adapters comes before one of many small ones', async () => {
  const [many, large] = [randomUUID(), randomUUID()];
  for (let version = 0; version < 3; version++) await storage.saveAdapter(smallAdapter(many, version));
  await storage.saveAdapter(new UserLoRAAdapter(large));
  const [first] = await rows('most-bytes');
  expect(first).toMatchObject({ user_id: large, version_count: '1', adapter_count: '1', total_bytes: '41052' });
});

test('statement-latency: what the storage sends about adapters, slowest on average first, and nothing else', async () => {
  await pool.query('select pg_stat_statements_reset()');
  const userId = randomUUID();
  await storage.saveAdapter(smallAdapter(userId));
  for (const adapterName of ['a', 'b', 'c']) await storage.loadAdapter(userId, adapterName).catch(() => undefined);
  await pool.query('select 1 as lora_adapters_of_somebody');
  const found = await rows('statement-latency');
  const loads = found.filter(({ query: text, calls }) => /lora_adapter_heads/.test(text) && calls === '3');
  expect(loads.length).toBe(1);
  expect(found.some(({ query: text }) => /insert into lora_adapters/.test(text))).toBe(true);
  expect(found.filter(({ query: text }) => !/lora_adapters\b|lora_adapter_heads\b/.test(text))).toEqual([]);
  const means = found.map(({ mean_exec_time }) => mean_exec_time);
  expect(means).toEqual([...means].sort((a, b) => b - a));
});
