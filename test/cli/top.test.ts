import { afterAll, beforeAll, expect, test } from 'vitest';
import { LoRAStorage, UserLoRAAdapter } from '../../src/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { withClient } from '../support/template.js';
import { lora, loraJson } from './support.js';

const user = (n: number) => `00000000-0000-0000-0000-00000000000${n}`;

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await using storage = await LoRAStorage.open({ postgres: database.url, createMissingUsers: true });
  for (const [n, name] of [
    [1, 'default'],
    [2, 'default'],
    [2, 'other'],
    [2, 'other'],
    [3, 'default'],
    [3, 'default'],
  ] as const) {
    await storage.saveAdapter(new UserLoRAAdapter(user(n)), name);
  }
});

afterAll(() => database?.drop());

test('--by bytes: the users who take most room, first', async () => {
  const env = { DATABASE_URL: database.url };
  const resize = (bytes: number) =>
    withClient(database.url, (client) =>
      client.query('update lora_adapters set size_bytes = $1 where user_id = $2', [bytes, user(1)]),
    );
  await resize(1_000_000);
  const found = await loraJson<{ userId: string }[]>(['top', '--by', 'bytes'], env).finally(() => resize(41_052));
  expect(found.map(({ userId }) => userId)).toEqual([user(1), user(2), user(3)]);
});

test('lists the users with most versions, first', async () => {
  const env = { DATABASE_URL: database.url };
  const users = await loraJson<{ userId: string }[]>(['top', '--limit', '2'], env);
  expect(users).toEqual([
    { userId: user(2), versions: 3, adapters: 2, totalBytes: 3 * 41_052, updatedAt: expect.stringMatching(/^\d{4}-/) },
    { userId: user(3), versions: 2, adapters: 1, totalBytes: 2 * 41_052, updatedAt: expect.any(String) },
  ]);
  const { stdout } = await lora(['top'], env);
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(4);
  expect(lines[0]).toMatch(/^user +versions +adapters +bytes +last saved$/);
  expect(lines[1]).toMatch(new RegExp(`^${user(2)} +3 +2 +123 kB +\\d{4}-`));
});
