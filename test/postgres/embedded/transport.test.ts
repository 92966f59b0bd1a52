/** How the server is reached: by a socket however long the path is, or, as on Windows, by 127.0.0.1 and a password. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { expect, test } from 'vitest';
import { isServing, killServer, makeScratch, postmasterPid, query, start, startNode } from './support.js';

const long = (scratch: string) => {
  const directory = join(scratch, 'a-directory-whose-name-alone-would-fill-most-of-a-socket-address'.repeat(2));
  mkdirSync(directory);
  return directory;
};

test('a path too long for a socket gets one in the temporary directory, removed with the server', async () => {
  const directory = long(makeScratch());
  const { url, config, stop } = await start(directory);
  expect(Buffer.byteLength(config.host)).toBeLessThan(80);
  expect(statSync(config.host).mode & 0o777).toBe(0o700);
  expect(await query(url, 'select 1 as reached')).toEqual([{ reached: 1 }]);
  const node = await startNode();
  expect(await node.call('start', directory)).toEqual({ url, adopted: true });
  await node.call('stop');
  await stop();
  expect(existsSync(config.host)).toBe(false);
});

test('and so does the next server, after a kill', async () => {
  const directory = long(makeScratch());
  const { config } = await start(directory);
  await killServer(directory);
  const node = await startNode();
  const anew = await node.call<{ url: string }>('start', directory);
  expect(await query(anew.url, 'select 1 as reached')).toEqual([{ reached: 1 }]);
  expect(existsSync(config.host)).toBe(false);
  await node.call('stop');
});

test('a loopback server asks for the password that only its account can read', async () => {
  const scratch = makeScratch();
  const directory = join(scratch, 'db');
  const { url, config, stop } = await start(directory, { transport: 'loopback' });
  expect(config.host).toBe('127.0.0.1');
  expect(statSync(join(directory, 'data/lora-store.password')).mode & 0o777).toBe(0o600);
  expect(await query(url, 'select 1 as reached')).toEqual([{ reached: 1 }]);
  const intruder = new pg.Client({ ...config, password: 'guess' });
  await expect(intruder.connect()).rejects.toThrow(/password authentication failed/);

  const node = await startNode();
  expect(await node.call('start', directory)).toEqual({ url, adopted: true });
  const pid = postmasterPid(directory) ?? 0;
  await stop();
  await node.call('stop');
  expect(isServing(pid)).toBe(false);
  expect((await start(directory)).config.password).toBe(config.password);
});

test('paths with spaces, commas and an apostrophe', async () => {
  const { url, config } = await start(join(makeScratch(), "it's here, ü"));
  expect(await query(url, 'select 1 as reached')).toEqual([{ reached: 1 }]);
  expect(await query(url, 'show unix_socket_directories')).toHaveLength(1);
  expect(existsSync(join(config.host, '.s.PGSQL.5432'))).toBe(true);
});
