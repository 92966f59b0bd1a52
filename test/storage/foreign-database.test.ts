/** Databases of one server beside each other: transaction ids and postmaster are the same, the adapters are not. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { LoRAStorage as Storage } from '../../src/storage/lora-storage.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';

const bench = useStorage();
let other: TestDatabase;
let foreign: LoRAStorage;

beforeAll(async () => {
  other = await createDatabase();
  foreign = await Storage.open({
    postgres: other.url,
    redis: redisUrl(),
    namespace: bench.namespace,
    redisTimeoutMs: 5000,
    createMissingUsers: true,
  });
});
afterAll(async () => {
  await foreign?.close();
  await other?.drop();
});

test('what a node of another database left under the same key in Redis is not served', async () => {
  const userId = await bench.user();
  const node = await bench.open({ memory: false });
  await node.saveAdapter(smallAdapter(userId, 1));
  const stranger = smallAdapter(userId, 2);
  stranger.trainingIterations = 999;
  await foreign.saveAdapter(stranger);
  const own = await bench.open();
  for (const storage of [node, own, own]) {
    expect((await storage.loadAdapter(userId)).trainingIterations).toBe(0);
  }
});

test('an ear in another database hears nothing of this one, so open() refuses it', async () => {
  const opening = bench.open({ postgres: { primary: bench.postgresUrl, direct: other.url }, redis: false });
  await expect(opening).rejects.toThrow('postgres.direct leads to another database');
});
