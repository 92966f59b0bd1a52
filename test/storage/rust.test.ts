/** Side by side with a Rust service: rows that the real crate wrote are loaded, and what is saved equals its bytes. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { decodeAdapter, encodeAdapter } from '../../src/adapter/codec.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { useStorage } from '../support/storage.js';

interface Vector {
  readonly file: string;
  readonly userId: string;
  readonly trainingIterations: number;
}

const fixtures = new URL('../fixtures/bincode/', import.meta.url);
const { vectors } = JSON.parse(readFileSync(new URL('manifest.json', fixtures), 'utf8')) as { vectors: Vector[] };
const bytesOf = (file: string) => readFileSync(new URL(file, fixtures));

const bench = useStorage();
let storage: LoRAStorage;

beforeAll(async () => {
  storage = await bench.open();
  for (const { userId } of vectors) await bench.sql('insert into users (id) values ($1)', [userId]);
});

describe.each(vectors)('$file', ({ file, userId, trainingIterations }) => {
  const bytes = bytesOf(file);

  test('inserted as a Rust service does, it loads through every tier', async () => {
    await bench.sql(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes, training_iterations)
       values ($1, 'rust', 1, $2, $3, $4)`,
      [userId, bytes, bytes.length, Math.min(trainingIterations, 2 ** 31 - 1)],
    );
    for (const tier of ['postgres', 'memory'] as const) {
      const { adapter, version, tier: from } = await storage.loadAdapterInfo(userId, 'rust');
      expect([version, from]).toEqual([1, tier]);
      expect(adapter.trainingIterations).toBe(trainingIterations);
      expect(encodeAdapter(adapter).equals(bytes)).toBe(true);
    }
    const other = await bench.open({ memory: false });
    const { adapter } = await other.loadAdapterInfo(userId, 'rust');
    expect(encodeAdapter(adapter).equals(bytes)).toBe(true);
  });

  test('saved by us, the row holds the very bytes of the crate', async () => {
    const saving = storage.saveAdapter(decodeAdapter(bytes), 'ours');
    if (trainingIterations > 2 ** 31 - 1) {
      await expect(saving).rejects.toMatchObject({ code: 'INVALID_ADAPTER' });
      return;
    }
    await saving;
    const rows = await bench.sql(
      `select weights, size_bytes::int, training_iterations from lora_adapters where user_id = $1 and adapter_name = 'ours'`,
      [userId],
    );
    expect(rows).toEqual([{ weights: bytes, size_bytes: bytes.length, training_iterations: trainingIterations }]);
  });
});

test('a MAX(version) + 1 inserted by the Rust service takes its place among ours', async () => {
  const userId = vectors[0]?.userId as string;
  await storage.saveAdapter(new UserLoRAAdapter(userId), 'mixed');
  await bench.sql(
    `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
     select user_id, adapter_name, max(version) + 1, min(weights::text)::bytea, min(size_bytes) from lora_adapters
     where user_id = $1 and adapter_name = 'mixed' group by 1, 2`,
    [userId],
  );
  expect(await storage.saveAdapter(new UserLoRAAdapter(userId), 'mixed')).toBe(3);
});
