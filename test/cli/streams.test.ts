/** A stdout or a stderr that is gone: who left has had enough, a disk that is full is told, and no server is left running. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LoRAStorage } from '../../src/storage/lora-storage.js';
import { makeCluster, postmasterPid } from '../postgres/embedded/support.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { smallAdapter } from '../support/storage.js';
import { withClient } from '../support/template.js';
import { contents, scratchDirectory, seed, start, user } from './archives.js';
import { lora, SCRIPT } from './support.js';

const scratch = scratchDirectory();
const at = (name: string) => join(scratch, name);
let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase();
  await withClient(db.url, (client) => seed(client, [{ userId: user(1) }, { userId: user(2) }]));
});

afterAll(() => db?.drop());

/** The exit code of a command whose stderr nobody reads. */
async function unread(args: readonly string[], url: string): Promise<number | null> {
  const running = start(args, { DATABASE_URL: url });
  running.process.stderr?.destroy();
  return (await running.ended).code;
}

test('a reader of stderr who leaves ends no import', async () => {
  const to = await createDatabase();
  try {
    expect((await lora(['export', at('all'), '--postgres', db.url])).code).toBe(0);
    for (const n of [3, 4, 5]) {
      mkdirSync(at(`all/${user(n)}`));
      writeFileSync(at(`all/${user(n)}/1.lora`), 'rubbish');
    }
    expect(await unread(['import', at('all'), '--create-users'], to.url)).toBe(1);
    expect(await contents(to.url)).toEqual(await contents(db.url));
  } finally {
    await to.drop();
  }
});

test('nor does it change an exit code', async () => {
  expect(await unread(['list', 'nonsense'], db.url)).toBe(2);
  expect(await unread(['frobnicate'], db.url)).toBe(2);
});

/** With a stdout that refuses every byte: a file that is open for reading. */
async function refused(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  const stdout = openSync(SCRIPT, 'r');
  try {
    const env = { ...process.env, DATABASE_URL: db.url, REDIS_URL: '' };
    const child = spawn(process.execPath, [SCRIPT, ...args], { env, stdio: ['ignore', stdout, 'pipe'] });
    const [stderr] = await Promise.all([text(child.stderr as NodeJS.ReadableStream), once(child, 'close')]);
    return { code: child.exitCode, stderr };
  } finally {
    closeSync(stdout);
  }
}

test.each([[['stats']], [['export', '-']], [['--help']]])('%j into a stdout that takes nothing', async (args) => {
  const stderr = expect.stringMatching(/^lora-store: cannot write to stdout: EBADF.*\n$/);
  expect(await refused(args)).toEqual({ code: 1, stderr });
});

test.each([[['stats']], [['export', '-']], [['stats', '--help']]])('the same of %j with --json', async (args) => {
  const { code, stderr } = await refused([...args, '--json']);
  expect([code, JSON.parse(stderr)]).toEqual([1, { error: { message: expect.stringMatching(/stdout: EBADF/) } }]);
});

test('a reader who leaves in the middle of an export: it ends in order, and so does the server it started', async () => {
  const directory = makeCluster();
  const env = { DATABASE_URL: `embedded:${directory}` };
  const storage = await LoRAStorage.open({ postgres: env.DATABASE_URL, redis: false, createMissingUsers: true });
  await storage.saveAdapter(smallAdapter(user(1)));
  await storage.close();
  const running = start(['export', '-'], env);
  running.process.stdout?.destroy();
  expect(await running.ended).toEqual({ code: 1, stderr: '' });
  expect(postmasterPid(directory)).toBeUndefined();
});

test('one who leaves before the result of a command is no error', async () => {
  const running = start(['stats'], { DATABASE_URL: db.url });
  running.process.stdout?.destroy();
  expect(await running.ended).toEqual({ code: 0, stderr: '' });
});
