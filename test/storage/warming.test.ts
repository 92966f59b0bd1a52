/** LoRAStorage.warm(): what it loads, where to, what it leaves in peace, and how it ends early. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { encodeAdapter } from '../../src/adapter/codec.js';
import { redisNamespace } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { insertAdapters } from './faults/support.js';

const bench = useStorage();
const SIZE = encodeAdapter(smallAdapter(randomUUID())).length;

const keysOf = (users: readonly string[]) => users.map((userId) => ({ userId }));

test('what it loads lies in memory and in Redis; what does not exist, or is bad, is counted', async () => {
  const namespace = redisNamespace();
  const users = await insertAdapters(bench, 70);
  await bench.sql(`update lora_adapters set weights = '\\x00' where user_id = $1`, [users[0]]);
  const node = await bench.open({ namespace });
  const progress: number[] = [];
  const keys = [...keysOf(users), { userId: randomUUID() }, { userId: users[1] as string, adapterName: 'other' }];
  const warmed = await node.warm(keys, { onProgress: ({ loaded }) => progress.push(loaded) });
  expect(warmed).toEqual({ loaded: 69, absent: 2, failed: 1 });
  expect(progress).toEqual([31, 63, 69]);
  expect(users.filter((user) => node.peekAdapter(user) !== undefined)).toEqual(users.slice(1));

  await node.close();
  const other = await bench.open({ namespace });
  expect(await other.warm(keysOf(users.slice(1)))).toEqual({ loaded: 69, absent: 0, failed: 0 });
  expect(other.cacheStats().postgres.loads).toBe(0);
});

test('pushes nothing out of memory, and goes on into Redis', async () => {
  const namespace = redisNamespace();
  const users = await insertAdapters(bench, 12);
  const [mine, ...others] = users as [string, ...string[]];
  const node = await bench.open({ namespace, memory: { maxBytes: 3 * SIZE + 50 } });
  await node.loadAdapter(mine);
  expect((await node.warm(keysOf(others))).loaded).toBe(11);
  expect(node.cacheStats().memory).toMatchObject({ entries: 3, bytes: 3 * SIZE, evictions: 0 });
  expect(node.peekAdapter(mine)).toBeDefined();
  await node.close();
  const other = await bench.open({ namespace });
  await other.warm(keysOf(others));
  expect(other.cacheStats().postgres.loads).toBe(0);
});

test('what memory has no room for any more takes its older self along', async () => {
  const [user = ''] = await insertAdapters(bench, 1);
  // No ear, and no patience: each load asks Postgres.
  const node = await bench.open({ redis: false, changeFeed: false, maxStalenessMs: 1, memory: { maxBytes: SIZE } });
  await node.loadAdapter(user);
  expect(node.cacheStats().memory.entries).toBe(1);
  const larger = encodeAdapter(new UserLoRAAdapter(user, { rank: 4, inputDim: 8, outputDim: 8 }));
  await bench.sql('insert into lora_adapters (user_id, version, weights, size_bytes) values ($1, 2, $2, $3)', [
    user,
    larger,
    larger.length,
  ]);
  expect((await node.warm(keysOf([user]))).loaded).toBe(1);
  expect(node.cacheStats().memory.entries).toBe(0);
});

test('a signal ends it after the batch under way; what was loaded stays', async () => {
  const users = await insertAdapters(bench, 70);
  const node = await bench.open({ redis: false });
  const enough = new AbortController();
  const stopped = node.warm(keysOf(users), {
    signal: enough.signal,
    onProgress: () => enough.abort(new Error('enough')),
  });
  await expect(stopped).rejects.toThrow('enough');
  expect(node.cacheStats().memory.entries).toBe(32);
});

test('a pause for the sake of the rate ends with the signal, too', async () => {
  const node = await bench.open({ redis: false });
  const enough = new AbortController();
  // The second adapter would be due in an hour.
  const given = {
    perSecond: 1 / 3600,
    signal: enough.signal,
    onProgress: () => setImmediate(() => enough.abort(new Error('enough'))),
  };
  await expect(node.warm(keysOf(await insertAdapters(bench, 2)), given)).rejects.toThrow('enough');
  expect(node.cacheStats().memory.entries).toBe(1);
});

test('close() does not wait for all of it', async () => {
  const users = await insertAdapters(bench, 70);
  const node = await bench.open({ redis: false });
  let closed: Promise<void> | undefined;
  const onProgress = () => {
    closed = node.close();
  };
  await expect(node.warm(keysOf(users), { onProgress })).rejects.toMatchObject({ code: 'STORAGE_CLOSED' });
  await closed;
  expect(node.cacheStats().postgres.loads).toBe(32);
});

test('takes what can be iterated, and refuses what makes no sense', async () => {
  const node = await bench.open({ redis: false });
  const users = await insertAdapters(bench, 2);
  async function* slowly() {
    for (const key of keysOf(users)) yield key;
  }
  expect((await node.warm(slowly())).loaded).toBe(2);
  expect(await node.warm(new Set())).toEqual({ loaded: 0, absent: 0, failed: 0 });
  const refused = { code: 'INVALID_ADAPTER' };
  await expect(node.warm({ userId: users[0] } as never)).rejects.toMatchObject(refused);
  await expect(node.warm([{ userId: 'x' }])).rejects.toMatchObject(refused);
  await expect(node.warm([], { perSecond: 0 })).rejects.toMatchObject(refused);
  await expect(node.warm([], { rate: 5 } as never)).rejects.toThrow("no option 'rate'");
});
