/** What an exit code says to a script: whether the same command may help later, and whose fault it was. */
import { beforeAll, expect, test } from 'vitest';
import { exitCodeOf } from '../../src/cli/exit.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { lora } from './support.js';

const bench = useStorage();
let user: string;

beforeAll(async () => {
  user = await bench.user();
  await (await bench.open()).saveAdapter(smallAdapter(user));
});

/** Runs `lora-store ...args`, in `role` where one is given. */
async function run(args: readonly string[], role?: string) {
  const url = new URL(bench.postgresUrl);
  if (role !== undefined) url.searchParams.set('options', `-c role=${role}`);
  const { code, stdout, stderr } = await lora(args, { DATABASE_URL: url.href });
  expect(stdout).toBe('');
  return { code, stderr };
}

test('a right that is missing is missing the next time, too', async () => {
  const stderr = expect.stringMatching(/refused \(42501\).*grants\.sql/);
  expect(await run(['list', user], 'pg_monitor')).toEqual({ code: 1, stderr });
});

test('so is a row that refers to what is to be deleted', async () => {
  await bench.sql('create table favourites (id uuid references lora_adapters (id))');
  await bench.sql('insert into favourites select id from lora_adapters');
  expect(await run(['delete', user, '--yes'])).toEqual({ code: 1, stderr: expect.stringMatching(/refused \(23503\)/) });
});

test('and a time that Postgres cannot count back to', async () => {
  const args = ['prune', '--older-than', '999999y', '--dry-run'];
  expect(await run(args)).toEqual({ code: 1, stderr: expect.stringMatching(/refused \(22008\)/) });
});

test.each([RangeError, TypeError])('a %o of the program is no mistake of the command line', (Fault) => {
  expect(exitCodeOf(new Fault('deep inside'))).toBe(1);
});
