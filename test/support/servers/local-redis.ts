/** A Redis (or Valkey) from a binary on this machine, in memory only: it writes no file, and a restart finds it empty. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Daemon } from './daemon.js';
import { startLocalServer } from './local-server.js';
import { freePort } from './ports.js';
import { type BinaryRecipe, type OwnServer, redisUrlAt, type ServerSettings } from './server.js';

export const redisTestSettings: ServerSettings = { save: '', appendonly: 'no' };

/** portSetting: of a second port, such as 'cluster-port', which is chosen along with the first. */
export async function startLocalRedis(
  recipe: BinaryRecipe,
  settings: ServerSettings = {},
  portSetting?: string,
): Promise<OwnServer> {
  const daemon = new Daemon('redis');
  const given = { ...redisTestSettings, bind: '127.0.0.1', dir: daemon.home, ...settings };
  return await startLocalServer(daemon, {
    executable: join(recipe.directory, recipe.executable),
    env: recipe.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: recipe.libraryPath },
    args: async (port) => {
      const second = portSetting === undefined ? {} : { [portSetting]: String(await freePort()) };
      return ['--port', String(port), ...redisArguments({ ...given, ...second })];
    },
    url: (port) => redisUrlAt(port),
    greet: greetRedis,
  });
}

/** A sentinel that watches nobody yet. What it is told it writes into its configuration. */
export async function startLocalSentinel(recipe: BinaryRecipe): Promise<OwnServer> {
  const daemon = new Daemon('sentinel');
  const configuration = join(daemon.home, 'sentinel.conf');
  writeFileSync(configuration, '');
  return await startLocalServer(daemon, {
    executable: join(recipe.directory, recipe.executable),
    env: recipe.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: recipe.libraryPath },
    args: (port) => [configuration, '--sentinel', '--port', String(port), '--bind', '127.0.0.1', '--dir', daemon.home],
    url: (port) => redisUrlAt(port),
    greet: greetRedis,
  });
}

export function redisArguments(settings: ServerSettings): string[] {
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, ...value.split(' ')]);
}

export async function greetRedis(url: string): Promise<void> {
  const client = new Redis(url, {
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: 5_000,
    // While a server loads, ioredis would wait for as long as the server guesses that it takes.
    maxLoadingRetryTime: 50,
  });
  // connect() rejects with 'Connection is closed'; why it is closed comes as an event.
  let reason: Error | undefined;
  client.on('error', (error) => {
    reason = error;
  });
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    throw reason ?? error;
  } finally {
    client.disconnect();
  }
}
