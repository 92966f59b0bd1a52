/** Ctrl-C ends what reads, whatever its source does: a pipe in which nobody writes, a file of which nothing is ours. */
import { execFileSync } from 'node:child_process';
import { createWriteStream, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { redisNamespace, redisUrl } from '../support/redis.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';
import { contents, scratchDirectory, seed, start, user } from './archives.js';
import { lora } from './support.js';

const scratch = scratchDirectory();
const at = (name: string) => join(scratch, name);
/** More than anybody reads while a test waits. */
const TB = 2 ** 40;
let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase();
  await withClient(db.url, (client) => seed(client, [{ userId: user(1) }]));
});

afterAll(() => db?.drop());

function pipe(name: string): string {
  execFileSync('mkfifo', [at(name)]);
  return at(name);
}

/** Starts a command, and interrupts it once it is connected and `reading` resolves. */
async function interrupt(args: readonly string[], reading?: Promise<unknown>): Promise<void> {
  const running = start(args, { DATABASE_URL: db.url, REDIS_URL: redisUrl() });
  // Where it does not end, the test does.
  onTestFinished(() => void running.process.kill('SIGKILL'));
  const connected = `select from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'`;
  await waitFor(() => withClient(db.url, async (client) => (await client.query(connected)).rows.length > 0));
  await reading;
  running.process.kill('SIGINT');
  const { code, stderr } = await running.ended;
  expect([code, stderr]).toEqual([130, expect.stringMatching(/lora-store: interrupted\n$/)]);
  expect(stderr).not.toContain('problem');
}

/** Writes into the pipe as soon as somebody reads there, and leaves it open. Resolves when it is written. */
async function writer(path: string, bytes: Buffer | string): Promise<ReturnType<typeof createWriteStream>> {
  const stream = createWriteStream(path);
  return await new Promise((resolve, reject) => {
    stream.on('error', reject).write(bytes, () => resolve(stream));
  });
}

test('import of a pipe that falls silent in the middle of an archive', async () => {
  const written = writer(pipe('silent'), Buffer.alloc(512));
  await interrupt(['import', at('silent')], written);
  (await written).destroy();
});

test('import of a pipe that nobody opens to write', async () => {
  await interrupt(['import', pipe('nobody')]);
});

test('warm by a list that somebody is still writing', async () => {
  const written = writer(pipe('list'), `${user(9)}\n`);
  await interrupt(['warm', at('list'), '--namespace', redisNamespace()], written);
  (await written).destroy();
});

test('a command that cannot begin leaves the pipe that it was to read', async () => {
  const path = pipe('unwanted');
  const running = start(['warm', path], { DATABASE_URL: db.url, REDIS_URL: 'redis://127.0.0.1:1' });
  onTestFinished(() => void running.process.kill('SIGKILL'));
  const stream = await writer(path, `${user(9)}\n`);
  expect(await running.ended).toEqual({ code: 3, stderr: expect.stringMatching(/cannot reach Redis/) });
  stream.destroy();
});

test('import of zeros without an end', async () => {
  writeFileSync(at('zeros'), '');
  truncateSync(at('zeros'), TB);
  await interrupt(['import', at('zeros')]);
});

test('import of a tar with a huge file that is not ours', async () => {
  const packing = pack();
  packing.entry({ name: 'a-disk.img', size: TB });
  for await (const header of packing) {
    writeFileSync(at('huge.tar'), header as Buffer);
    break;
  }
  truncateSync(at('huge.tar'), TB);
  await interrupt(['import', at('huge.tar')]);
});

test('import of a pipe is that of what was written into it, to its end', async () => {
  const to = await createDatabase();
  try {
    expect((await lora(['export', at('all.tar'), '--postgres', db.url])).code).toBe(0);
    const path = pipe('whole');
    const running = start(['import', path, '--create-users'], { DATABASE_URL: to.url });
    execFileSync('cp', [at('all.tar'), path]);
    expect(await running.ended).toEqual({ code: 0, stderr: '' });
    expect(await contents(to.url)).toEqual(await contents(db.url));
  } finally {
    await to.drop();
  }
});
