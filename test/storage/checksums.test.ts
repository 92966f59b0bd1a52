/** The checksum of a row: filled by a save, verified by every way to load it, and no duty of other writers. */
import { expect, test } from 'vitest';
import { crc32c, encodeAdapter } from '../../src/adapter/codec.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { smallAdapter, useStorage } from '../support/storage.js';

const bench = useStorage();

const open = (): Promise<LoRAStorage> => bench.open({ memory: false, redis: false });

async function checksumsOf(userId: string): Promise<(number | null)[]> {
  const rows = await bench.sql<{ checksum: number | null }>(
    'select checksum::float8 as checksum from lora_adapters where user_id = $1 order by version',
    [userId],
  );
  return rows.map(({ checksum }) => checksum);
}

/** One bit of one weight, where no trigger sees it: what a disk does. The record stays valid. */
async function flipBit(userId: string): Promise<void> {
  await bench.sql(
    `with quiet as materialized (select set_config('session_replication_role', 'replica', true))
     update lora_adapters set weights = set_byte(weights, 50, get_byte(weights, 50) # 1) from quiet where user_id = $1`,
    [userId],
  );
}

test('a save and a rollback fill it, and what was saved loads', async () => {
  const node = await open();
  const adapter = smallAdapter(await bench.user());
  await node.saveAdapter(adapter);
  await node.rollbackAdapter(adapter.userId, 'default', 1);
  const checksum = crc32c(encodeAdapter(adapter));
  expect(await checksumsOf(adapter.userId)).toEqual([checksum, checksum]);
  expect(encodeAdapter(await node.loadAdapter(adapter.userId)).equals(encodeAdapter(adapter))).toBe(true);
});

test('a bit that changed in Postgres is found by every way to load it, and told of', async () => {
  const node = await open();
  const adapter = smallAdapter(await bench.user());
  await node.saveAdapter(adapter);
  await flipBit(adapter.userId);
  expect(await checksumsOf(adapter.userId)).toEqual([crc32c(encodeAdapter(adapter))]);
  const told: unknown[] = [];
  node.on('corrupt', (event) => told.push(event));
  const corrupt = { code: 'ADAPTER_CORRUPT', reason: 'the checksum does not match' };
  await expect(node.loadAdapter(adapter.userId)).rejects.toMatchObject(corrupt);
  await expect(node.loadAdapterVersion(adapter.userId, 'default', 1)).rejects.toMatchObject(corrupt);
  expect(await node.loadAdapters([adapter])).toMatchObject([corrupt]);
  const one = { userId: adapter.userId, adapterName: 'default', tier: 'postgres', reason: corrupt.reason };
  expect(told).toEqual([one, one, one]);
});

test('weights that another writer inserts or rewrites have none, and load', async () => {
  const node = await open();
  const userId = await bench.user();
  await node.saveAdapter(smallAdapter(userId));
  const bytes = encodeAdapter(smallAdapter(userId, 2));
  await bench.sql('update lora_adapters set weights = $2 where user_id = $1', [userId, bytes]);
  expect(await checksumsOf(userId)).toEqual([null]);
  expect(encodeAdapter(await node.loadAdapter(userId)).equals(bytes)).toBe(true);
});
