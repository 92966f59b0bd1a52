/** `lora-store archive`: who is inactive moves, whole, and nothing is lost wherever it ends. */
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { LoRAStorage } from '../../src/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { smallAdapter } from '../support/storage.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';
import { contents, scratchDirectory, seed, someoneWaits, start, user } from './archives.js';
import { lora, loraJson } from './support.js';

const scratch = scratchDirectory();
const at = (name: string) => join(scratch, name);
const opened: TestDatabase[] = [];

afterAll(async () => {
  for (const made of opened) await made.drop();
});

async function database(seeds: Parameters<typeof seed>[1] = []): Promise<TestDatabase> {
  const made = await createDatabase();
  opened.push(made);
  await withClient(made.url, (client) => seed(client, seeds));
  return made;
}

const now = () => new Date().toISOString();
const users = async (url: string) => [
  ...new Set((await contents(url)).map((row) => (row as { user_id: string }).user_id)),
];

/** Somebody who is about to save to that user: archive waits for them before it deletes. */
async function savingTo(url: string, userId: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  await client.query('begin');
  await client.query('select from users where id = $1 for key share', [userId]);
  return client;
}

const MB = 1024 * 1024;
/** Three inactive users, each a piece of the archive of their own. */
const LARGE = [1, 2, 3].map((n) => ({ userId: user(n), bytes: 4.5 * MB }));

test('inactive users move with all they have, nodes hear of it, and import brings them back', async () => {
  const { url } = await database([
    { userId: user(1) },
    { userId: user(1), version: 4 },
    { userId: user(1), adapterName: 'Other' },
    { userId: user(2) },
    { userId: user(3) },
    { userId: user(3), adapterName: 'fresh', updatedAt: now() },
  ]);
  const before = await contents(url);
  await using storage = await LoRAStorage.open({ postgres: url, maxStalenessMs: 600_000 });
  expect((await storage.loadAdapterInfo(user(1))).version).toBe(4);

  const args = ['archive', '--inactive', '180d', at('gone.tar.gz'), '--postgres', url];
  const moved = { target: at('gone.tar.gz'), versions: 4, users: 2, returned: 0, faulty: 0 };
  expect(await loraJson(args)).toEqual(moved);
  expect(await users(url)).toEqual([user(3)]);
  await waitFor(() =>
    storage.loadAdapter(user(1)).then(
      () => false,
      (error) => error.code === 'ADAPTER_NOT_FOUND',
    ),
  );
  expect(readdirSync(scratch)).toEqual(['gone.tar.gz']);

  const again = await lora([...args.slice(0, 3), at('none.tar.gz'), '--postgres', url]);
  expect(again).toEqual({ code: 0, stdout: 'no user is inactive\n', stderr: '' });
  expect(readdirSync(scratch)).toEqual(['gone.tar.gz']);

  // Numbers go on where they were, also before the old versions are back.
  expect(await storage.saveAdapter(smallAdapter(user(2)))).toBe(2);
  expect(await loraJson(['import', at('gone.tar.gz'), '--postgres', url])).toMatchObject({ imported: 4, problems: 0 });
  const after = await contents(url);
  for (const row of before) expect(after).toContainEqual(row);
  expect(after).toHaveLength(before.length + 1);
  expect((await storage.loadAdapterInfo(user(2))).version).toBe(2);
  expect(await storage.saveAdapter(smallAdapter(user(1)))).toBe(5);
});

test('the nil UUID is a user, too, and so is whoever a page ends and begins with', async () => {
  const inactive = ['00000000-0000-0000-0000-000000000000', ...[1, 998, 999, 1000, 1999, 2000].map(user)];
  const { url } = await database(inactive.map((userId) => ({ userId })));
  const original = await contents(url);
  // Three pages with them, of 1000 users each: those between are active.
  await withClient(url, async (client) => {
    const between = `select id from (select replace($1, 'n', lpad(n::text, 12, '0'))::uuid as id from generate_series(1, 2001) n) u
      where id <> all ($2)`;
    const values = [user(0).replace(/0{12}$/, 'n'), inactive];
    await client.query(`insert into users ${between}`, values);
    await client.query(
      `insert into lora_adapters (user_id, weights, size_bytes) select id, '\\x00', 1 from (${between}) b`,
      values,
    );
  });
  const target = at('nil.tar.gz');
  const moved = { target, versions: 7, users: 7, returned: 0, faulty: 0 };
  expect(await loraJson(['archive', '--inactive', '180d', target, '--postgres', url])).toEqual(moved);
  expect(await loraJson(['import', target, '--postgres', url])).toMatchObject({ imported: 7, problems: 0 });
  expect((await contents(url)).filter((row) => inactive.includes((row as { user_id: string }).user_id))).toEqual(
    original,
  );
});

test.each([
  ['saves a version', (client: pg.Client) => seed(client, [{ userId: user(1), version: 2, updatedAt: now() }])],
  [
    'writes to an old version',
    (client: pg.Client) => client.query('update lora_adapters set training_iterations = 9 where version = 1'),
  ],
])('a user who comes back while it runs, and %s, keeps all', async (_, come) => {
  const { url } = await database([{ userId: user(1) }, { userId: user(1), version: 3 }]);
  const file = at(`returned-${opened.length}.tar`);
  const saver = await savingTo(url, user(1));
  const running = start(['archive', '--inactive', '1d', file, '--json'], { DATABASE_URL: url });
  let stdout = '';
  running.process.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  await someoneWaits(url); // what it read is in the archive; now it wants to delete
  await come(saver);
  await saver.query('commit');
  await saver.end();
  expect(await running.ended).toEqual({ code: 0, stderr: expect.stringContaining(`user ${user(1)} was saved to`) });
  expect(JSON.parse(stdout)).toMatchObject({ users: 0, returned: 1 });
  const versions = (await contents(url)).map((row) => (row as { version: number }).version);
  expect(versions).toEqual(expect.arrayContaining([1, 3]));
});

test('killed between writing and deleting, it goes on, and nothing is lost', async () => {
  const { url } = await database(LARGE);
  const original = await contents(url);
  const file = at('killed.tar.gz');
  const args = ['archive', '--inactive', '1d', file];
  const saver = await savingTo(url, user(2));
  const killed = start(args, { DATABASE_URL: url });
  await someoneWaits(url);
  killed.process.kill('SIGKILL');
  await killed.ended;
  await saver.end();
  // The first is in the archive alone, the second in both.
  await waitFor(async () => (await users(url)).length === 2);
  expect([await users(url), existsSync(file)]).toEqual([[user(2), user(3)], false]);
  expect(JSON.parse(readFileSync(`${file}.partial.json`, 'utf8')).versions).toBe(2);
  const rescued = await database();
  const partial = await lora(['import', `${file}.partial`, '--create-users', '--postgres', rescued.url]);
  expect([partial.code, partial.stderr]).toEqual([1, expect.stringMatching(/cut off: 2 files/)]);
  expect(await users(rescued.url)).toEqual([user(1), user(2)]);

  appendFileSync(`${file}.partial`, 'half a piece');
  expect(await loraJson([...args, '--postgres', url])).toMatchObject({ users: 2, versions: 4 });
  expect(await contents(url)).toEqual([]);
  const back = await loraJson(['import', file, '--postgres', url]);
  expect(back).toEqual({ imported: 3, unchanged: 1, problems: 0, firstProblems: [] });
  expect(await contents(url)).toEqual(original);
});

test('Ctrl-C ends it behind a user, and it goes on', async () => {
  const { url } = await database(LARGE);
  const file = at('interrupted.tar');
  const args = ['archive', '--inactive', '1d', file];
  const saver = await savingTo(url, user(2));
  const running = start(args, { DATABASE_URL: url });
  await someoneWaits(url);
  running.process.kill('SIGINT');
  await saver.end();
  expect(await running.ended).toEqual({ code: 130, stderr: expect.stringContaining('goes on from there') });
  expect(await users(url)).toEqual([user(3)]);
  const exported = await lora(['export', file, '--postgres', url]);
  expect([exported.code, exported.stderr]).toEqual([1, expect.stringContaining('other options')]);
  expect(await loraJson([...args, '--postgres', url])).toMatchObject({ users: 1, versions: 3 });
});

test('two archives at once move each user, and lose none', async () => {
  const { url } = await database([1, 2, 3].map((n) => ({ userId: user(n) })));
  const original = await contents(url);
  const saver = await savingTo(url, user(1));
  const files = [at('one.tar.gz'), at('other.tar.gz')];
  const both = files.map((file) => start(['archive', '--inactive', '1d', file], { DATABASE_URL: url }));
  await someoneWaits(url, 2);
  await saver.end();
  const said = await Promise.all(both.map(({ ended }) => ended));
  expect(said.map(({ code }) => code)).toEqual([0, 0]);
  // Each was read by both, and moved by one: the other says that it holds a copy.
  const told = said.flatMap(({ stderr }) => [...stderr.matchAll(/user (\S+) was saved to or deleted from/g)]);
  expect(told.map(([, id]) => id).sort()).toEqual([1, 2, 3].map(user));
  expect(await contents(url)).toEqual([]);
  for (const file of files) await loraJson(['import', file, '--postgres', url]);
  expect(await contents(url)).toEqual(original);
});

test('a user with a bad row stays, is told, and makes the exit code 1', async () => {
  const { url } = await database([{ userId: user(1) }, { userId: user(1), adapterName: 'bad' }, { userId: user(2) }]);
  await withClient(url, (client) =>
    client.query(`update lora_adapters set weights = '\\x00', updated_at = '2025-01-01' where adapter_name = 'bad'`),
  );
  const said = await lora(['archive', '--inactive', '1d', at('bad.tar'), '--postgres', url]);
  expect(said).toEqual({
    code: 1,
    stdout: expect.stringContaining('1 users moved, 1 left alone'),
    stderr: expect.stringMatching(new RegExp(`user ${user(1)} stays: .*'bad' version 1`)),
  });
  expect(await contents(url)).toHaveLength(2);
});

test.each([
  [['archive', 'x.tar'], /required option '--inactive/],
  [['archive', '--inactive', 'soon', 'x.tar'], /number of days or hours/],
  [['archive', '--inactive', '1d', 'x'], /an archive is a .tar.gz/],
])('%j is refused', async (args, words) => {
  expect(await lora(args)).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(words) });
});
