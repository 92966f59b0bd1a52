import { afterAll, beforeAll, expect, test } from 'vitest';
import { LoRAStorage, UserLoRAAdapter } from '../../src/index.js';
import { proxyTo } from '../storage/faults/support.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { lora, loraJson } from './support.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(() => database?.drop());

test('counts versions, users and bytes, also of none', async () => {
  const postgres = ['--postgres', database.url];
  expect((await lora(['stats', ...postgres])).stdout).toBe('no adapters are stored\n');

  await using storage = await LoRAStorage.open({ postgres: database.url, createMissingUsers: true });
  for (const user of ['1', '2', '2']) {
    await storage.saveAdapter(new UserLoRAAdapter(`00000000-0000-0000-0000-00000000000${user}`));
  }
  expect(await loraJson(['stats', ...postgres])).toEqual(await storage.getStorageStats());
  expect((await lora(['stats', ...postgres])).stdout).toBe('3 versions of 2 users: 123 kB, 41.1 kB each\n');
});

test('--timeout is how long a statement may take, and is named where it was not enough', async () => {
  const proxy = await proxyTo(database.url);
  proxy.mute();
  const { code, stderr } = await lora(['stats', '--timeout', '1', '--postgres', proxy.url(database.url)]);
  await proxy.close();
  expect([code, stderr]).toEqual([3, expect.stringContaining('did not answer in time (--timeout)')]);
});
