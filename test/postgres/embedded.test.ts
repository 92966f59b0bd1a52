/** The embedded server through its public function: its life, its privacy, and who may use it together. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { expect, test } from 'vitest';
import { startEmbeddedPostgres } from '../../src/postgres/embedded.js';
import { endPool } from '../support/pools.js';
import { waitFor } from '../support/wait.js';
import {
  builtModule,
  isServing,
  killServer,
  makeCluster,
  makeScratch,
  postmasterPid,
  query,
  start,
  startNode,
} from './embedded/support.js';

test('starts, keeps what was written over a stop, and stops for good', async () => {
  const directory = join(makeScratch(), 'made', 'on the way, too');
  const first = await startEmbeddedPostgres(directory);
  expect(first).toMatchObject({ directory, adopted: false, config: { database: 'lora_store' } });
  const pid = postmasterPid(directory) ?? 0;
  await query(first.url, 'create table kept as select 42 as answer');
  const stopping = first.stop();
  expect(first.stop()).toBe(stopping);
  await stopping;
  expect(isServing(pid)).toBe(false);

  const second = await start(directory);
  expect(second.adopted).toBe(false);
  expect(await query(second.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
  const pool = new pg.Pool(second.config);
  const { rows } =
    await pool.query(`select current_setting('fsync') as fsync, current_setting('data_checksums') as sums,
    current_setting('listen_addresses') as tcp, current_database() as database`);
  await endPool(pool);
  expect(rows).toEqual([{ fsync: 'on', sums: 'on', tcp: '', database: 'lora_store' }]);
});

test('nobody else can enter the socket or the data', async () => {
  const { directory, config } = await start(makeCluster());
  expect(statSync(config.host).mode & 0o777).toBe(0o700);
  expect(statSync(join(directory, 'data')).mode & 0o777).toBe(0o700);
  expect(statSync(join(directory, 'postgres.log')).mode & 0o777).toBe(0o600);
});

test('objects of one process share the server, by whatever path; the last one ends it', async () => {
  const directory = makeCluster();
  const scratch = makeScratch();
  symlinkSync(directory, join(scratch, 'b'));
  const [one, two] = await Promise.all([start(directory), start(directory)]);
  const three = await start(join(scratch, 'b'));
  expect(three.url).toBe(one.url);
  await one.stop();
  await one.stop();
  await two.stop();
  expect(await query(three.url, 'select 1 as still')).toEqual([{ still: 1 }]);
  await three.stop();
  expect(postmasterPid(directory)).toBeUndefined();
});

test('a start during the stop waits for it and gets a server that lives', async () => {
  const directory = makeCluster();
  const old = await start(directory);
  const stopping = old.stop();
  const anew = await start(directory);
  await stopping;
  expect(await query(anew.url, 'select 1 as alive')).toEqual([{ alive: 1 }]);
});

test('processes share the server; the first to leave does not stop it under the other', async () => {
  const directory = makeCluster();
  const other = await startNode();
  const theirs = await other.call<{ url: string; adopted: boolean }>('start', directory);
  const ours = await start(directory);
  expect([theirs.adopted, ours.adopted]).toEqual([false, true]);
  expect(theirs.url).toBe(ours.url);
  const pid = postmasterPid(directory) ?? 0;

  await other.call('stop');
  expect(await query(ours.url, 'select 1 as still')).toEqual([{ still: 1 }]);
  await ours.stop();
  expect(isServing(pid)).toBe(false);
});

test('two processes that start a new directory at once: one starts, the other adopts, neither fails', async () => {
  const directory = join(makeScratch(), 'new');
  const nodes = await Promise.all([startNode(), startNode(), startNode()]);
  const started = await Promise.all(
    nodes.map((node) => node.call<{ adopted: boolean; url: string }>('start', directory)),
  );
  expect(started.map(({ adopted }) => adopted).sort()).toEqual([false, true, true]);
  await Promise.all(started.map(({ url }) => query(url, 'select 1')));
  // A checkout that the server's account cannot read, below /root for one, puts a copy of the programs there as well.
  const made = readdirSync(directory).filter((name) => !/^server-[\w.-]+-beta\.\d+$/.test(name));
  expect(made.sort()).toEqual(['data', 'postgres.log', 'socket']);
  const pid = postmasterPid(directory) ?? 0;
  await Promise.all(nodes.map((node) => node.call('stop')));
  expect(isServing(pid)).toBe(false);
});

test('one process stops while another starts, again and again: every start gets a server that lives', async () => {
  const directory = makeCluster();
  const nodes = await Promise.all([startNode(), startNode()]);
  const live = async (node: (typeof nodes)[number]) => {
    for (let round = 0; round < 8; round++) {
      const { url } = await node.call<{ url: string }>('start', directory);
      expect(await query(url, 'select 1 as alive')).toEqual([{ alive: 1 }]);
      await node.call('stop');
    }
  };
  await Promise.all(nodes.map(live));
  expect(postmasterPid(directory)).toBeUndefined();
});

test('a process held up between launching a server and joining it survives that another one stops it', async () => {
  const directory = makeCluster();
  const doomed = await startNode();
  const before = await doomed.call<{ url: string }>('start', directory);
  // After a kill the server first replays this: time enough to freeze the process that launches it.
  await query(before.url, 'create table much as select generate_series(1, 1000000) as n');
  await doomed.kill();
  await killServer(directory);
  const killed = postmasterPid(directory);
  const slow = await startNode();
  const started = slow.call<{ url: string; adopted: boolean }>('start', directory);
  const launched = await waitFor(() => postmasterPid(directory) !== killed && postmasterPid(directory));
  slow.signal('SIGSTOP');
  const quick = await startNode();
  expect(await quick.call('start', directory)).toMatchObject({ adopted: true });
  await quick.call('stop');
  expect(postmasterPid(directory)).toBeUndefined();
  slow.signal('SIGCONT');

  const { url, adopted } = await started;
  expect(adopted).toBe(false);
  expect(postmasterPid(directory)).not.toBe(launched);
  expect(await query(url, 'select 1 as alive')).toEqual([{ alive: 1 }]);
});

test('the server a killed process left is adopted, and stopped as ours', async () => {
  const directory = makeCluster();
  const doomed = await startNode();
  const { url } = await doomed.call<{ url: string }>('start', directory);
  await query(url, 'create table kept as select 42 as answer');
  const pid = postmasterPid(directory) ?? 0;
  await doomed.kill();
  expect(isServing(pid)).toBe(true);

  const heir = await start(directory);
  expect(heir.adopted).toBe(true);
  expect(postmasterPid(directory)).toBe(pid);
  expect(await query(heir.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
  await heir.stop();
  expect(isServing(pid)).toBe(false);
});

test('a hold that a crash of the server cut is taken again', async () => {
  const directory = makeCluster();
  const ours = await start(directory);
  const holders = `select pid from pg_locks where locktype = 'advisory'`;
  const pids = async () => (await query(ours.url, holders)).map(({ pid }) => Number(pid));
  const [session] = await pids();
  // A backend that dies this way makes the postmaster cut all sessions and replay the log.
  process.kill(session ?? 0, 'SIGKILL');
  await waitFor(async () => (await pids()).some((pid) => pid !== session));

  const other = await startNode();
  await other.call('start', directory);
  await other.call('stop');
  expect(await query(ours.url, 'select 1 as still')).toEqual([{ still: 1 }]);
});

test('a program that ends without stop() is not kept alive, and nothing is printed', async () => {
  const directory = makeCluster();
  const program = `const { startEmbeddedPostgres } = await import(${JSON.stringify(builtModule())});
    await startEmbeddedPostgres(${JSON.stringify(directory)});`;
  const printed = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
  expect(printed).toEqual({ stdout: '', stderr: '' });
  const heir = await start(directory);
  expect(heir.adopted).toBe(true);
  await heir.stop();
  expect(existsSync(join(directory, 'data/postmaster.pid'))).toBe(false);
});
