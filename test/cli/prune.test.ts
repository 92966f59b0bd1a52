/** `lora-store prune`, ended in the middle among others; how a prune goes through the table: test/storage/prune.test.ts. */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { lora, loraJson, startLora } from './support.js';

const bench = useStorage();

/** A node that hears nothing goes on serving what it holds. */
const HOUR_MS = 3_600_000;

let env: NodeJS.ProcessEnv;
let other: pg.Client;

beforeAll(async () => {
  env = { DATABASE_URL: bench.postgresUrl };
  other = new pg.Client(bench.postgresUrl);
  await other.connect();
});

afterAll(() => other?.end());

beforeEach(() => bench.sql('truncate users, lora_adapter_heads cascade'));

/** Versions 1 to `count`, one created each day, the last today. */
async function fill(user: string, count: number, name = 'default'): Promise<void> {
  await bench.sql(
    `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes, created_at)
     select $1, $2, v, 'abc', 3, now() - ($3 - v) * interval '1 day' from generate_series(1, $3::int) v`,
    [user, name, count],
  );
}

const countOf = async (user: string) =>
  (await bench.sql<{ n: number }>('select count(*)::int as n from lora_adapters where user_id = $1', [user]))[0]?.n;

const waiting = () =>
  bench.sql(
    `select pid from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
  );

test.each([
  ['all but the newest', ['--keep', '2'], { rows: 6, left: [2, 4] }],
  ['what is old, but the latest', ['--older-than', '36h'], { rows: 6, left: [2, 4] }],
  ['of one user', ['--keep', '1', '--user'], { rows: 3, left: [1, 8] }],
])('%s: a dry run counts what the prune deletes', async (_, rule, { rows, left }) => {
  const users = [await bench.user(), await bench.user()] as [string, string];
  await fill(users[0], 4);
  await fill(users[1], 4);
  await fill(users[1], 4, 'other');
  const args = rule.at(-1) === '--user' ? [...rule, users[0]] : rule;
  // Locked by somebody else: who only counts does not wait.
  await other.query('begin; select from lora_adapters for update');
  const counted = await loraJson<object>(['prune', ...args, '--dry-run'], env).finally(() => other.query('rollback'));
  expect(counted).toMatchObject({ dryRun: true, rows, bytes: 3 * rows });
  expect([await countOf(users[0]), await countOf(users[1])]).toEqual([4, 8]);

  const { adapters } = counted as { adapters: number };
  expect(await loraJson(['prune', ...args], env)).toEqual({ complete: true, adapters, deleted: rows });
  expect([await countOf(users[0]), await countOf(users[1])]).toEqual(left);
});

test('an adapter’s latest goes only when told, and running nodes stop serving it, whichever server they listen to', async () => {
  const user = await bench.user();
  const nodes = await Promise.all([
    bench.open({ redis: false, maxStalenessMs: HOUR_MS }),
    bench.open({ changeFeed: false, maxStalenessMs: HOUR_MS }),
  ]);
  await nodes[0].saveAdapter(smallAdapter(user));
  await bench.sql(`update lora_adapters set created_at = now() - interval '91 days' where user_id = $1`, [user]);
  const prune = (...args: string[]) =>
    lora(['prune', '--older-than', '90d', '--redis', redisUrl(), '--namespace', bench.namespace, ...args], env);
  expect((await prune()).stdout).toBe('0 versions of 1 adapter deleted\n');
  for (const node of nodes) await node.loadAdapter(user);
  expect((await prune('--include-latest')).stdout).toBe('1 version of 1 adapter deleted\n');
  for (const node of nodes) {
    await waitFor(() =>
      node.loadAdapter(user).then(
        () => false,
        ({ code }) => code === 'ADAPTER_NOT_FOUND',
      ),
    );
  }
});

test('a row that no head knows of is the newest, for a dry run too', async () => {
  const user = await bench.user();
  await fill(user, 2);
  await bench.sql(
    `begin; set local session_replication_role = replica;
     insert into lora_adapters (user_id, version, weights, size_bytes) values ('${user}', 3, 'abcd', 4);
     update lora_adapters set created_at = now() - interval '9 days'; commit`,
  );
  expect(await loraJson(['prune', '--older-than', '1d', '--dry-run'], env)).toMatchObject({ rows: 2, bytes: 6 });
  expect(await loraJson(['prune', '--older-than', '1d'], env)).toMatchObject({ deleted: 2 });
  expect(await bench.sql('select version from lora_adapters')).toEqual([{ version: 3 }]);
});

/** 1. A prune has deleted a batch, and waits in its second for a row that is held here. 2. `meanwhile`. 3. The row is let go. */
async function inSecondBatch(user: string, meanwhile: (prune: ReturnType<typeof startLora>) => Promise<void>) {
  await fill(user, 1301);
  await other.query('begin');
  await other.query('select from lora_adapters where user_id = $1 and version = 600 for update', [user]);
  const prune = startLora(['prune', '--keep', '1', '--json'], env);
  try {
    await waitFor(async () => (await waiting()).length === 1, { what: 'the prune to wait for the row' });
    await meanwhile(prune);
  } finally {
    await other.query('rollback');
  }
  const { code, stdout } = await prune.ended;
  return { code, said: JSON.parse(stdout) as object };
}

test('Ctrl-C in the middle of a batch: it is finished, the next is not begun, and the rest can be pruned later', async () => {
  const user = await bench.user();
  const ended = await inSecondBatch(user, async (prune) => {
    prune.interrupt();
    await waitFor(() => prune.stderr.includes('ending'));
  });
  expect(ended).toEqual({ code: 130, said: { complete: false, adapters: 1, deleted: 1000, from: user } });
  expect(await countOf(user)).toBe(301);
  expect(await loraJson(['prune', '--keep', '1', '--from', user], env)).toMatchObject({ complete: true, deleted: 300 });
  expect(await bench.sql('select version from lora_adapters')).toEqual([{ version: 1301 }]);
});

test('the server ends the session in the middle of a batch: that one is not done, and what was done is told', async () => {
  const user = await bench.user();
  const ended = await inSecondBatch(user, async () => {
    await bench.sql('select pg_terminate_backend($1)', [(await waiting())[0]?.pid]);
    await waitFor(async () => (await waiting()).length === 0);
  });
  expect(ended).toEqual({ code: 3, said: { complete: false, adapters: 1, deleted: 500, from: user } });
  expect(await countOf(user)).toBe(801);
  expect(await loraJson(['prune', '--keep', '1'], env)).toMatchObject({ complete: true, deleted: 800 });
});

test.each([
  ['nothing to go by', [], /--keep 5.*--older-than 90d/],
  ['two rules', ['--keep', '1', '--older-than', '9d'], /cannot be used with/],
  ['an age without a unit', ['--older-than', '90'], /such as '90d'/],
  ['nothing to keep', ['--keep', '0'], /It must be a whole number from 1/],
  ['one user, and where to begin', ['--keep', '1', '--user', 'a', '--from', 'b'], /cannot be used with/],
  ['a user that is none', ['--keep', '1', '--user', 'bob'], /a user id is/],
])('%s: exit code 2', async (_, args, words) => {
  expect(await lora(['prune', ...args], env)).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(words) });
});
