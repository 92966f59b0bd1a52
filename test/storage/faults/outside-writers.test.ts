/**
 * Writers that are not ours, in psql or in Rust: whatever they do, in one statement or in a thousand, reaches the caches of
 * every node through the change feed, and never fails their transaction. The leases outlast the tests: what were not heard
 * would be served.
 */
import { beforeAll, expect, test } from 'vitest';
import type { UserLoRAAdapter } from '../../../src/adapter/adapter.js';
import { encodeAdapter } from '../../../src/adapter/codec.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { insertAdapters, versionAt } from './support.js';

const bench = useStorage();
let nodes: LoRAStorage[];

/** With all tiers, without Redis, and with Redis as the only cache. */
beforeAll(async () => {
  const ways = [{}, { redis: false }, { memory: false }] as const;
  nodes = await Promise.all(ways.map((way) => bench.open({ ...way, maxStalenessMs: 600_000 })));
});

interface Name {
  readonly userId: string;
  readonly adapterName?: string;
}

/** Every node has loaded each of them, and has the last in a cache. */
async function known(keys: readonly Name[]): Promise<void> {
  const last = keys.at(-1) as Name;
  for (const node of nodes) {
    expect((await node.loadAdapters(keys)).every((adapter) => adapter !== undefined)).toBe(true);
    await waitFor(async () => (await node.loadAdapterInfo(last.userId, last.adapterName)).tier !== 'postgres');
  }
}

const keysOf = (users: readonly string[]): Name[] => users.map((userId) => ({ userId }));
const bytesOf = (userId: string): Buffer => encodeAdapter(smallAdapter(userId, 99));

async function oneUser(): Promise<string> {
  const [userId] = (await insertAdapters(bench, 1)) as [string];
  await known([{ userId }]);
  return userId;
}

const secondVersion = (userId: string) =>
  `insert into lora_adapters (user_id, version, weights, size_bytes)
   select user_id, 2, weights, size_bytes from lora_adapters where user_id = '${userId}'`;

test.each<[string, (userId: string) => string, number | string]>([
  ['an insert', secondVersion, 2],
  ['a delete', (id) => `delete from lora_adapters where user_id = '${id}'`, 'ADAPTER_NOT_FOUND'],
  ['ON DELETE CASCADE', (id) => `delete from users where id = '${id}'`, 'ADAPTER_NOT_FOUND'],
  ['TRUNCATE', () => 'truncate lora_adapters', 'ADAPTER_NOT_FOUND'],
  ['TRUNCATE users CASCADE', () => 'truncate users cascade', 'ADAPTER_NOT_FOUND'],
])('%s', async (_, sql, expected) => {
  const userId = await oneUser();
  await bench.sql(sql(userId));
  for (const node of nodes) await waitFor(async () => (await versionAt(node, userId)) === expected);
});

test('an update of the weights', async () => {
  const userId = await oneUser();
  const bytes = bytesOf(userId);
  await bench.sql('update lora_adapters set weights = $2 where user_id = $1', [userId, bytes]);
  for (const node of nodes) await waitFor(async () => encodeAdapter(await node.loadAdapter(userId)).equals(bytes));
});

test('10,000 rows deleted in one statement', async () => {
  const users = await insertAdapters(bench, 10_000);
  const loaded = keysOf(users.filter((_, i) => i % 20 === 0));
  await known(loaded);
  await bench.sql('delete from lora_adapters where user_id = any($1)', [users]);
  const [first] = loaded as [Name];
  for (const node of nodes) {
    await waitFor(async () => (await versionAt(node, first.userId)) === 'ADAPTER_NOT_FOUND');
    // One word was for all of them.
    expect((await node.loadAdapters(loaded)).every((adapter) => adapter === undefined)).toBe(true);
  }
});

test('1,000 statements of one row each in one transaction', async () => {
  const users = await insertAdapters(bench, 1000);
  await known(keysOf(users));
  const told = new Set<string>();
  nodes[1]?.on('invalidated', ({ userId, via }) => via === 'change-feed' && told.add(userId));
  const update = (userId: string) =>
    `update lora_adapters set weights = '\\x${bytesOf(userId).toString('hex')}' where user_id = '${userId}'`;
  await bench.sql(`begin; ${users.map(update).join(';')}; commit`);
  const last = users.at(-1) as string;
  for (const node of nodes) {
    await waitFor(async () => encodeAdapter(await node.loadAdapter(last)).equals(bytesOf(last)));
    // Word of the last comes last.
    const adapters = await node.loadAdapters(keysOf(users));
    const isOld = (userId: string, i: number) => !encodeAdapter(adapters[i] as UserLoRAAdapter).equals(bytesOf(userId));
    expect(users.filter(isOld)).toEqual([]);
  }
  expect(users.filter((userId) => !told.has(userId))).toEqual([]);
});

/** 100 characters that JSON writes with six: NOTIFY takes 8,000 bytes. */
const longestName = (i: number): string => `${'\u0001'.repeat(96)}${String(i).padStart(4, '0')}`;

test.each([
  ['100, as many as are told one by one', 100],
  ['101, of which nobody is told by name', 101],
])('one statement over the longest names there can be: %s', async (_, count) => {
  const userId = await bench.user();
  const keys = Array.from({ length: count }, (_, i) => ({ userId, adapterName: longestName(i) }));
  await bench.sql(
    `insert into lora_adapters (user_id, adapter_name, weights, size_bytes)
     select $1, name, $3::bytea, octet_length($3::bytea) from unnest($2::varchar[]) name`,
    [userId, keys.map(({ adapterName }) => adapterName), encodeAdapter(smallAdapter(userId))],
  );
  await known(keys);
  const bytes = bytesOf(userId);
  await bench.sql('update lora_adapters set weights = $2 where user_id = $1', [userId, bytes]);
  for (const node of nodes) {
    const last = keys.at(-1)?.adapterName;
    await waitFor(async () => encodeAdapter(await node.loadAdapter(userId, last)).equals(bytes));
    for (const { adapterName } of keys)
      expect(encodeAdapter(await node.loadAdapter(userId, adapterName)).equals(bytes)).toBe(true);
  }
});
