/** Servers that have two ports, and servers that are started together. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { localRedisRecipe, type OwnServer, startRedisProcess } from '../redis.js';
import { Daemon } from './daemon.js';
import { greetRedis, redisArguments } from './local-redis.js';
import { startLocalServer } from './local-server.js';
import { freePort } from './ports.js';
import { redisUrlAt } from './server.js';
import { allStarted, builtOn } from './together.js';

test('a second port that somebody else has taken is chosen anew, and a restart keeps what was chosen', async () => {
  const { directory, executable, libraryPath } = await localRedisRecipe();
  const [taken, ...free] = [await freePort(), await freePort(), await freePort()] as const;
  const stranger = createServer().listen(taken, '127.0.0.1');
  await once(stranger, 'listening');
  const busPorts = [taken, ...free];
  const tried: (number | undefined)[] = [];
  const daemon = new Daemon('redis');
  const server = await startLocalServer(daemon, {
    executable: join(directory, executable),
    env: libraryPath === undefined ? {} : { LD_LIBRARY_PATH: libraryPath },
    args: (port) => {
      tried.push(busPorts.shift());
      const settings = { save: '', bind: '127.0.0.1', dir: daemon.home, 'cluster-enabled': 'yes' };
      return ['--port', String(port), ...redisArguments({ ...settings, 'cluster-port': String(tried.at(-1)) })];
    },
    url: (port) => redisUrlAt(port),
    greet: greetRedis,
  });
  await server.restart();
  const client = new Redis(server.url);
  expect(await client.config('GET', 'cluster-port')).toEqual(['cluster-port', String(free[0])]);
  expect(tried).toEqual([taken, free[0]]);
  client.disconnect();
  await server.stop();
  stranger.close();
});

test('where one of several does not start, those that did are stopped, and its reason is what is thrown', async () => {
  const started: OwnServer[] = [];
  const good = async () => {
    const server = await startRedisProcess();
    started.push(server);
    return server;
  };
  const bad = () => startRedisProcess({ 'no-such-setting': '1' });
  await expect(allStarted([good(), bad(), good()])).rejects.toThrow('no-such-setting');
  expect(started).toHaveLength(2);
  for (const { url } of started) await expect(greetRedis(url)).rejects.toThrow('ECONNREFUSED');
});

test('servers are stopped where what is built on them fails', async () => {
  const server = await startRedisProcess();
  await expect(builtOn([server], () => Promise.reject(new Error('no quorum')))).rejects.toThrow('no quorum');
  await expect(greetRedis(server.url)).rejects.toThrow('ECONNREFUSED');
});
