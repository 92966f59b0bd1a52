/** The adapters that were saved last, page after page: none is passed over, and none comes twice. */
import { expect, test } from 'vitest';
import { hottest } from '../../src/operations/hottest.js';
import { Tables } from '../../src/operations/tables.js';
import { seed, user } from '../cli/archives.js';
import { useStorage } from '../support/storage.js';
import { withClient } from '../support/template.js';

const bench = useStorage();

async function list(count: number): Promise<string[]> {
  const tables = await Tables.open(bench.postgresUrl, 60_000);
  const users: string[] = [];
  try {
    for await (const { userId } of hottest(tables, count)) users.push(userId);
  } finally {
    await tables.close();
  }
  return users;
}

test('of one instant, in an adopted table whose ids tell no row from another', async () => {
  await bench.sql('alter table lora_adapters drop constraint lora_adapters_pkey');
  await withClient(bench.postgresUrl, (client) => seed(client, [{ userId: user(0) }]));
  // More than two pages of them, and the last instant there can be.
  await bench.sql('insert into users select gen_random_uuid() from generate_series(1, 2500)');
  await bench.sql(
    `insert into lora_adapters (id, user_id, weights, size_bytes, created_at)
     select a.id, u.id, a.weights, a.size_bytes, 'infinity' from lora_adapters a join users u on u.id <> a.user_id`,
  );
  const all = await list(9999);
  expect([all.length, new Set(all).size, all.at(-1)]).toEqual([2501, 2501, user(0)]);
  expect(await list(1200)).toEqual(all.slice(0, 1200));
});
