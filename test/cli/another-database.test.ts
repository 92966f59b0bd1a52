/** An archive that was begun from one database is not gone on with from another. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { withClient } from '../support/template.js';
import { holdReaders, scratchDirectory, seed, someoneWaits, start, user } from './archives.js';
import { lora } from './support.js';

const scratch = scratchDirectory();
const opened: TestDatabase[] = [];

afterAll(async () => {
  for (const made of opened) await made.drop();
});

async function database(): Promise<TestDatabase> {
  const made = await createDatabase();
  opened.push(made);
  await withClient(made.url, (client) => seed(client, [{ userId: user(1) }]));
  return made;
}

async function interrupted(args: string[], url: string, as = url): Promise<void> {
  const release = await holdReaders(url);
  const running = start(args, { DATABASE_URL: as });
  await someoneWaits(url);
  running.process.kill('SIGINT');
  await release();
  expect((await running.ended).code).toBe(130);
}

test.each([
  ['export', ['export']],
  ['archive', ['archive', '--inactive', '1d']],
])('%s', async (name, command) => {
  const [one, other] = [await database(), await database()];
  const file = join(scratch, `${name}.tar`);
  await interrupted([...command, file], one.url);
  const elsewhere = await lora([...command, file, '--postgres', other.url]);
  expect([elsewhere.code, elsewhere.stderr]).toEqual([1, expect.stringContaining('from another database')]);
  expect(existsSync(file)).toBe(false);
  expect((await lora([...command, file, '--postgres', one.url])).code).toBe(0);
});

test('whoever may not read what the server is called goes by its address', async () => {
  const { url } = await database();
  await withClient(url, (client) => client.query('revoke execute on function pg_control_system from public'));
  const limited = new URL(url);
  limited.searchParams.set('options', '-c role=pg_read_all_data');
  const file = join(scratch, 'limited.tar');
  await interrupted(['export', file], url, limited.href);
  expect(JSON.parse(readFileSync(`${file}.partial.json`, 'utf8')).job.source).toContain(limited.port);
  expect((await lora(['export', file, '--postgres', url])).stderr).toContain('from another database');
  expect((await lora(['export', file, '--postgres', limited.href])).code).toBe(0);
});
