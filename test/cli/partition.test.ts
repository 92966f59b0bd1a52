/** `lora-store partition`: what it says, and how it ends; what it does is tested in test/operations/rebuild/. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { withClient } from '../support/template.js';
import { contents, seed, someoneWaits, start, user } from './archives.js';
import { lora, loraJson } from './support.js';

let db: TestDatabase;
let before: unknown[];

beforeAll(async () => {
  db = await createDatabase();
  await withClient(db.url, (client) =>
    seed(
      client,
      [1, 2, 3, 4, 5].map((n) => ({ userId: user(n) })),
    ),
  );
  before = await contents(db.url);
});
afterAll(() => db?.drop());

const run = (...args: string[]) => lora(['partition', ...args], { DATABASE_URL: db.url });
const json = <T>(...args: string[]) => loraJson<T>(['partition', ...args], { DATABASE_URL: db.url });
const HASH = ['--by', 'hash', '--count', '2'];

test.each([
  [[], /say into what: --by hash --count 32, or --undo/],
  [['--by', 'hash', '--count', '1000'], /a whole number from 2 to 256/],
  [['--undo', '--count', '2'], /cannot be used with/],
])('%j makes no sense', async (args, words) => {
  expect(await run(...args)).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(words) });
});

test('a dry run says what would be done and what is in its way, and does nothing', async () => {
  const said = await run(...HASH, '--dry-run');
  expect(said).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^lora_adapters is one plain table.*\nit would be copied into 2 hash/),
    stderr: '',
  });
  await withClient(db.url, (client) => client.query('create view mine as select id from lora_adapters'));
  expect(await json(...HASH, '--dry-run')).toMatchObject({
    dryRun: true,
    partitions: 0,
    inTheWay: ['rule _RETURN on view mine'],
  });
  expect((await run(...HASH, '--dry-run')).code).toBe(1);
  const refused = await run(...HASH);
  expect(refused).toEqual({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/would be without: rule _RETURN on view mine/),
  });
  await withClient(db.url, (client) => client.query('drop view mine'));
  expect(await run('--cancel')).toEqual({ code: 0, stdout: 'nothing was under way\n', stderr: '' });
});

/** Runs the command until it waits for `statement`'s transaction, and ends it there. */
async function endedWhile(statement: string, signal: 'SIGINT' | 'SIGKILL') {
  return await withClient(db.url, async (client) => {
    await client.query(`begin isolation level repeatable read; ${statement}`);
    const running = start(['partition', ...HASH, '--timeout', '600'], { DATABASE_URL: db.url });
    await someoneWaits(db.url);
    running.process.kill(signal);
    const ended = await running.ended;
    await client.query('rollback');
    return ended;
  });
}

test('killed during the copy, interrupted before the swap, it goes on to the end; doctor, migrate and others tell of it', async () => {
  // The copy waits for a row; killed, it leaves a table that is half full.
  await endedWhile(`select from lora_adapters where user_id = '${user(3)}' for update`, 'SIGKILL');
  const doctor = await loraJson<{ name: string; found: string; level: string }[]>(['doctor'], { DATABASE_URL: db.url });
  expect(doctor.find(({ name }) => name === 'partitions')).toMatchObject({
    level: 'warning',
    found: expect.stringMatching(/lora_store_rebuild is there/),
  });
  expect((await run('--by', 'hash', '--count', '3')).stderr).toMatch(/into 2 hash partitions by user_id is under way/);
  expect((await lora(['migrate', 'down', '--yes'], { DATABASE_URL: db.url })).stderr).toMatch(/is being rebuilt/);
  expect((await run(...HASH, '--dry-run')).stdout).toMatch(/one is under way/);

  // All is copied, and a transaction is older than that: Ctrl-C does not wait for it.
  const interrupted = await endedWhile('select from users limit 1', 'SIGINT');
  expect(interrupted).toEqual({
    code: 130,
    stderr: expect.stringMatching(/what is done stays: `lora-store partition --by hash --count 2` goes on/),
  });
  expect(await contents(db.url)).toEqual(before);

  const done = await json<object>(...HASH);
  expect(done).toEqual({
    partitions: 2,
    changed: true,
    rows: 5,
    mended: 0,
    longestLockMs: expect.any(Number),
    seconds: expect.any(Number),
  });
  expect(await contents(db.url)).toEqual(before);
  expect((await run(...HASH)).stdout).toMatch(/^lora_adapters is 2 hash partitions by user_id already\n$/);
}, 120_000);

test('what is partitioned is checked, counted and examined as a plain table is, and migrate down says what to do first', async () => {
  const env = { DATABASE_URL: db.url };
  expect((await lora(['migrate', 'status'], env)).code).toBe(0);
  expect((await lora(['migrate', 'up'], env)).stdout).toBe('nothing to apply\n');
  const down = await lora(['migrate', 'down', '--yes'], env);
  expect([down.code, down.stderr]).toEqual([3, expect.stringContaining('`lora-store partition --undo`')]);
  const doctor = await loraJson<{ name: string; found: string; level: string }[]>(['doctor'], env);
  const found = Object.fromEntries(doctor.map(({ name, ...rest }) => [name, rest]));
  expect(found.partitions).toEqual({ level: 'ok', found: 'lora_adapters has 2' });
  expect(found['plan of a load']?.found).toMatch(/on lora_adapters_h2_[01]$/);
  expect(found.statistics?.found).toMatch(/lora_adapters: about 5 rows/);
  // Of the partitioned table itself Postgres knows of none.
  expect(found['dead rows']?.found).toMatch(/(^|; )lora_adapters: \d+ dead beside 5,/);
  expect(doctor.filter(({ level }) => level === 'failure')).toEqual([]);
  expect((await lora(['verify'], env)).stdout).toMatch(/5 rows.*, and 5 heads/);
}, 120_000);

test('and back', async () => {
  const said = await run('--undo');
  expect(said).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^lora_adapters is one plain table: 5 versions copied and compared in .* s; no lock/),
    stderr: '',
  });
  expect(await contents(db.url)).toEqual(before);
  expect((await lora(['migrate', 'down', '--count', '1', '--yes'], { DATABASE_URL: db.url })).code).toBe(0);
});
