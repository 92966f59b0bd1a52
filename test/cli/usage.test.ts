/** What all commands have in common: help with an example, exit codes, errors in words or JSON. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { lora } from './support.js';

const NOWHERE = 'postgres://someone:hunter2@127.0.0.1:1/none';

let empty: TestDatabase;

beforeAll(async () => {
  empty = await createDatabase({ template: 'empty' });
});

afterAll(() => empty?.drop());

/** Names of all commands, as the help lists them. */
async function commands(): Promise<string[]> {
  const { stdout } = await lora(['--help']);
  const [, listed = ''] = stdout.split('Commands:\n');
  return [...listed.matchAll(/^ {2}([a-z]+)/gm)].map(([, name = '']) => name).filter((name) => name !== 'help');
}

test('the help lists the commands and the exit codes', async () => {
  expect((await commands()).length).toBeGreaterThan(1);
  expect((await lora(['--help'])).stdout).toMatch(/Exit codes: 0 done; 1 .* 2 .* 3 /);
});

test('the help of each command has --json and an example, which is a command line that is understood', async () => {
  for (const name of await commands()) {
    const { code, stdout } = await lora([name, '--help']);
    expect([name, code]).toEqual([name, 0]);
    expect(stdout).toMatch(/ --json /);
    const [, example = ''] = /Example:\n {2}\$ lora-store (.+)\n/.exec(stdout) ?? [];
    expect(example.split(' ')[0]).toBe(name);
    const { code: ran, stderr } = await lora(example.split(' '), { DATABASE_URL: NOWHERE });
    expect([example, ran, stderr]).toEqual([example, 3, expect.stringMatching(/cannot|did not/)]);
  }
});

test.each([
  ['no such command', ['frobnicate'], {}, 2, /unknown command/],
  ['no such option', ['stats', '--frobnicate'], {}, 2, /unknown option/],
  ['no database named', ['stats'], {}, 2, /set DATABASE_URL, or name one with --postgres/],
  ['no database named to save into', ['rollback', 'x', 'y', '1'], {}, 2, /or name one with --postgres/],
  ['no database named to migrate', ['migrate', 'up'], {}, 2, /or name one with --postgres/],
  ['no database named to examine', ['doctor'], {}, 2, /or name one with --postgres/],
  ['no database in the flag', ['stats', '--postgres', ''], { DATABASE_URL: NOWHERE }, 2, /or name one with --postgres/],
  ['a database that cannot be read', ['stats', '--postgres', 'mysql://x'], {}, 2, /postgres:\/\/ URL/],
  [
    'a database to migrate that cannot be read',
    ['migrate', 'up', '--postgres', 'mysql://x'],
    {},
    2,
    /postgres:\/\/ URL/,
  ],
  [
    'a namespace that is none',
    ['prune', '--keep', '1', '--namespace', 'a b'],
    { DATABASE_URL: NOWHERE },
    2,
    /namespace/,
  ],
  ['a Redis that cannot be read', ['doctor', '--redis', 'http://x'], { DATABASE_URL: NOWHERE }, 2, /redis:\/\/ URL/],
  [
    'a version that no column holds',
    ['show', 'x', '--version', '2147483648'],
    {},
    2,
    /'2147483648' is invalid\. It must be a whole number from 1 to 2147483647\./,
  ],
  [
    'more seconds than a timer waits',
    ['stats', '--timeout', '2147484'],
    { DATABASE_URL: NOWHERE },
    2,
    /'2147484' is invalid\. It must be a whole number from 1 to 2147483\./,
  ],
  ['as many as it does', ['stats', '--timeout', '2147483'], { DATABASE_URL: NOWHERE }, 3, /127\.0\.0\.1:1/],
  ['a server that is not there', ['stats'], { DATABASE_URL: NOWHERE }, 3, /127\.0\.0\.1:1/],
])('%s', async (_, args, env, code, words) => {
  const said = await lora(args, env);
  expect(said).toEqual({ code, stdout: '', stderr: expect.stringMatching(words) });
  expect(said.stderr).not.toContain('hunter2');
  expect(said.stderr).not.toMatch(/\n\s+at /);
});

test('a schema that is not there: the command that makes it', async () => {
  const said = await lora(['stats', '--postgres', empty.url]);
  expect(said).toEqual({ code: 3, stdout: '', stderr: expect.stringContaining('npx lora-store migrate up') });
});

test('with --json an error is JSON, too, on stderr', async () => {
  const { code, stdout, stderr } = await lora(['stats', '--json', '--postgres', empty.url]);
  expect([code, stdout]).toEqual([3, '']);
  expect(JSON.parse(stderr).error.code).toBe('SCHEMA_OUT_OF_DATE');
});

test.each([
  ['an option that is none', ['stats', '--frobnicate', '--json'], /^unknown option '--frobnicate'$/],
  ['a command that is none', ['frobnicate', '--json'], /^unknown command 'frobnicate'$/],
  ['an argument that is missing', ['list', '--json'], /^missing required argument 'user'$/],
  ['a value that is none', ['prune', '--keep', '-1', '--json'], /'-1' is invalid/],
  ['a contradiction', ['prune', '--json', '--keep', '1', '--older-than', '1d'], /cannot be used with/],
  [
    'words that a typing error has meant',
    ['stats', '--jsn', '--json'],
    /^unknown option '--jsn'\n\(Did you mean --json\?\)$/,
  ],
])('so is what is refused before a command begins: %s', async (_, args, message) => {
  const { code, stdout, stderr } = await lora(args);
  expect([code, stdout, JSON.parse(stderr)]).toEqual([2, '', { error: { message: expect.stringMatching(message) } }]);
});

test('a control character of a command line that is refused is shown, and not obeyed', async () => {
  expect((await lora(['stats', '--\x1b[2J'])).stderr).toBe("error: unknown option '--\\x1b[2J'\n");
});

test('a reader who leaves early is no error', async () => {
  const script = fileURLToPath(new URL('../../dist/cli/lora-store.js', import.meta.url));
  const { stderr } = await promisify(execFile)('bash', ['-c', `'${process.execPath}' '${script}' --help | true`]);
  expect(stderr).toBe('');
});
