/** A node never goes back behind what it has answered, though no word came, memory lost it and Redis has the old one again. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../../src/adapter/adapter.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import type { FaultProxy } from '../../support/proxy.js';
import { redisUrl } from '../../support/redis.js';
import { useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { proxyTo, versionAt } from './support.js';

const bench = useStorage();
let raw: Redis;
let earProxy: FaultProxy;

beforeAll(async () => {
  raw = new Redis(redisUrl());
  earProxy = await proxyTo(bench.postgresUrl);
});
afterAll(async () => {
  raw?.disconnect();
  await earProxy?.close();
});

/** Its memory holds one adapter of 41,052 bytes. Its lease outlasts the test. */
const forgetful = (): Promise<LoRAStorage> =>
  bench.open({
    postgres: { primary: bench.postgresUrl, direct: earProxy.url(bench.postgresUrl) },
    memory: { maxBytes: 50_000 },
    maxStalenessMs: 60_000,
  });

async function savedUser(node: LoRAStorage): Promise<string> {
  const userId = await bench.user();
  await node.saveAdapter(new UserLoRAAdapter(userId).initializeRandom(1));
  return userId;
}

test('what was read before word of it came is not followed by what Redis still holds', async () => {
  const node = await forgetful();
  const [userId, other] = [await savedUser(node), await savedUser(node)];
  const key = `${bench.namespace}:v1:{${userId}}:default`;
  await waitFor(async () => (await raw.strlen(key)) > 41_052);
  const old = await raw.dumpBuffer(key);
  // 1. Its ear is mute and still trusted; somebody outside adds version 2.
  earProxy.mute('answers');
  await bench.sql(
    `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
     select user_id, adapter_name, 2, weights, size_bytes from lora_adapters where user_id = $1`,
    [userId],
  );
  // 2. Redis has lost the adapter, so Postgres is read, and a caller is given version 2.
  await raw.del(key);
  expect(await versionAt(node, userId)).toBe(2);
  // 3. Memory gives its place to another, and Redis fails over to an old copy.
  await waitFor(async () => (await raw.strlen(key)) > 41_052);
  expect(await versionAt(node, other)).toBe(1);
  expect(node.peekAdapter(userId)).toBeUndefined();
  await raw.restore(key, 0, old as Buffer, 'REPLACE');
  expect(await versionAt(node, userId)).toBe(2);
});
