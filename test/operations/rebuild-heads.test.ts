/** docs/sql/rebuild-heads.sql: what was written past the triggers is found again, and no node goes on serving what it replaced. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { encodeAdapter } from '../../src/adapter/codec.js';
import type { LoRAStorage } from '../../src/index.js';
import { wrongHeads } from '../postgres/support/writers.js';
import { root } from '../support/root.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';

const rebuild = readFileSync(join(root, 'docs/sql/rebuild-heads.sql'), 'utf8');
const bench = useStorage();
let node: LoRAStorage;
let userId: string;

/** Without any trigger, as a replica applies it. */
const unseen = (sql: string, values?: unknown[]) =>
  withClient(bench.postgresUrl, async (client) => {
    await client.query('set session_replication_role = replica');
    await client.query(sql, values);
  });

const versionOf = (name: string) =>
  node.loadAdapterInfo(userId, name).then(
    ({ version }) => version,
    (error) => error.code,
  );

beforeEach(async () => {
  node = await bench.open();
  userId = await bench.user();
});

test('a rollback that meets it waits without a head, so that the two do not wait for each other', async () => {
  for (const seed of [1, 2]) await node.saveAdapter(smallAdapter(userId, seed));
  const bytes = encodeAdapter(smallAdapter(userId, 7));
  await unseen(
    'insert into lora_adapters (user_id, version, weights, size_bytes) values ($1, 7, $2::bytea, octet_length($2::bytea))',
    [userId, bytes],
  );
  await withClient(bench.postgresUrl, async (client) => {
    // 1. The script holds writers off. 2. A rollback comes, and waits. 3. The script gets every head, and ends.
    await client.query('begin; lock table lora_adapters in share row exclusive mode');
    const rolledBack = node.rollbackAdapter(userId, 'default', 1);
    await waitFor(
      async () =>
        (
          await bench.sql(
            'select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0 and datname = current_database()',
          )
        ).length,
      { what: 'the rollback to wait' },
    );
    await client.query('select from lora_adapter_heads for update nowait');
    await client.query(rebuild);
    await client.query('commit');
    expect(await rolledBack).toBe(8);
  });
  expect(await withClient(bench.postgresUrl, wrongHeads)).toEqual([]);
});

test('a head that was moved while nobody was told: a node that holds what was there before asks again', async () => {
  const other = await bench.open();
  await other.saveAdapter(smallAdapter(userId, 1));
  // Without Redis, where the saver himself would tell it.
  node = await bench.open({ redis: false });
  expect(await versionOf('default')).toBe(1);
  await bench.sql('alter table lora_adapter_heads disable trigger user');
  await other.saveAdapter(smallAdapter(userId, 2));
  await bench.sql('alter table lora_adapter_heads enable trigger user');
  expect(await withClient(bench.postgresUrl, wrongHeads)).toEqual([]);
  await bench.sql(rebuild);
  await waitFor(async () => (await versionOf('default')) === 2);
});

test('bodies that came, went and replaced the latest one, behind the back of every head', async () => {
  for (const name of ['came', 'went', 'all went', 'untouched']) {
    for (const seed of [1, 2]) await node.saveAdapter(smallAdapter(userId, seed), name);
    expect(await versionOf(name)).toBe(2);
  }
  expect(await versionOf('new')).toBe('ADAPTER_NOT_FOUND');
  const [untouched] = await bench.sql('select * from lora_adapter_heads where user_id = $1 and adapter_name = $2', [
    userId,
    'untouched',
  ]);

  const bytes = encodeAdapter(smallAdapter(userId, 7));
  const add =
    'insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes) values ($1, $2, $3, $4, $5)';
  await unseen(add, [userId, 'came', 7, bytes, bytes.length]);
  await unseen(add, [userId, 'new', 4, bytes, bytes.length]);
  await unseen(`delete from lora_adapters where user_id = $1 and adapter_name = 'went' and version = 2`, [userId]);
  await unseen(`delete from lora_adapters where user_id = $1 and adapter_name = 'all went'`, [userId]);
  expect(await withClient(bench.postgresUrl, wrongHeads)).toHaveLength(4);

  await bench.sql(rebuild);
  expect(await withClient(bench.postgresUrl, wrongHeads)).toEqual([]);
  // The node, which held all of them, hears of it.
  await waitFor(async () => (await versionOf('came')) === 7);
  await waitFor(async () => (await versionOf('new')) === 4);
  await waitFor(async () => (await versionOf('went')) === 1);
  await waitFor(async () => (await versionOf('all went')) === 'ADAPTER_NOT_FOUND');
  expect(
    await bench.sql('select * from lora_adapter_heads where user_id = $1 and adapter_name = $2', [userId, 'untouched']),
  ).toEqual([untouched]);

  const next = await Promise.all(
    ['came', 'new', 'went', 'all went'].map((name) => node.saveAdapter(smallAdapter(userId), name)),
  );
  expect(next).toEqual([8, 5, 3, 3]);
});
