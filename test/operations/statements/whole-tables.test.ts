/** Pages of whole tables go along an index: with a hundred million rows there is no other way to the second page. */
import { beforeAll, expect, test } from 'vitest';
import { NEXT_HEADS, NEXT_ROWS, NEXT_SAVED } from '../../../src/operations/statements/whole-tables.js';
import { useStorage } from '../../support/storage.js';
import { withClient } from '../../support/template.js';

const bench = useStorage();

beforeAll(() =>
  withClient(bench.postgresUrl, async (client) => {
    await client.query('set session_replication_role = replica');
    await client.query('insert into users select gen_random_uuid() from generate_series(1, 20000)');
    await client.query(`insert into lora_adapters (user_id, weights, size_bytes, created_at)
      select id, '\\x00', 1, now() - random() * interval '10 days' from users`);
    await client.query(`insert into lora_adapter_heads select id, 'default', 1, 1, 1 from users`);
    await client.query('analyze');
  }),
);

const MIDDLE = '80000000-0000-0000-0000-000000000000';
const LAST = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

test.each([
  ['rows', NEXT_ROWS, '(uuid, varchar, int4)', `('${MIDDLE}', 'a', 0)`],
  ['heads', NEXT_HEADS, '(uuid, varchar, uuid)', `('${MIDDLE}', 'a', '${LAST}')`],
  [
    'rows by when they were saved',
    NEXT_SAVED,
    '(timestamptz, uuid, varchar, int4)',
    `(now() - interval '5 days', '${MIDDLE}', 'a', 0)`,
  ],
])('a page of %s', async (_, { text }, types, values) => {
  const plan = await withClient(bench.postgresUrl, async (client) => {
    // As it is after some pages, when the plan is made once for all values.
    await client.query('set plan_cache_mode = force_generic_plan');
    await client.query(`prepare page ${types} as ${text}`);
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(`explain execute page ${values}`);
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  });
  expect(plan).toMatch(/Index Scan using \w+ on lora_adapter/);
  expect(plan).not.toMatch(/Seq Scan|-> {2}Sort|Bitmap/);
});
