/**
 * A Postgres from binaries on this machine, on a fresh cluster in a temporary directory.
 *
 * fsync is off: the tests kill processes, not machines, and what a killed postmaster wrote is in the kernel's hands
 * already, so it is there after a restart. Everything else that decides what a transaction sees stays at its default.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { Daemon } from './daemon.js';
import { unprivileged } from './identity.js';
import { startLocalServer } from './local-server.js';
import { type BinaryRecipe, type OwnServer, postgresLogin, postgresUrl, type ServerSettings } from './server.js';

export const postgresTestSettings: ServerSettings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  shared_preload_libraries: '',
  shared_buffers: '64MB',
  fsync: 'off',
  full_page_writes: 'off',
  autovacuum_naptime: '10s',
  // Shared memory as files in the data directory: nothing of a killed server stays in /dev/shm.
  dynamic_shared_memory_type: 'mmap',
};

export async function startLocalPostgres(recipe: BinaryRecipe, settings: ServerSettings = {}): Promise<OwnServer> {
  const daemon = new Daemon('postgres', unprivileged());
  const env = recipe.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: recipe.libraryPath };
  const data = join(daemon.home, 'data');
  try {
    await createCluster(daemon, join(recipe.directory, 'initdb'), data, env);
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  return await startLocalServer(daemon, {
    executable: join(recipe.directory, recipe.executable),
    env,
    args: (port) => ['-D', data, '-p', String(port), ...settingsAsArguments({ ...postgresTestSettings, ...settings })],
    url: (port) => postgresUrl(port),
    greet: greetPostgres,
  });
}

/** Logging in takes a password, so that tests can come with a wrong one. */
async function createCluster(daemon: Daemon, initdb: string, data: string, env: NodeJS.ProcessEnv): Promise<void> {
  const passwordFile = join(daemon.home, 'password');
  writeFileSync(passwordFile, `${postgresLogin.password}\n`, { mode: 0o644 });
  const login = ['--username', postgresLogin.user, '--pwfile', passwordFile, '--auth', 'scram-sha-256'];
  await daemon.run(initdb, ['--pgdata', data, ...login, '--encoding', 'UTF8', '--no-locale', '--no-sync'], env);
}

export function settingsAsArguments(settings: ServerSettings): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

export async function greetPostgres(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {}); // it may be ended under us; the next look tells
  try {
    await client.connect();
    await client.query('SELECT 1');
  } finally {
    await client.end();
  }
}
