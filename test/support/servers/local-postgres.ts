/**
 * A Postgres from binaries on this machine, on a fresh cluster in a temporary directory.
 *
 * fsync is off: the tests kill processes, not machines, and what a killed postmaster wrote is in the kernel's hands
 * already, so it is there after a restart. Everything else that decides what a transaction sees stays at its default.
 */
import { chownSync, rmSync, statSync, writeFileSync } from 'node:fs';
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

/**
 * A standby of `primary`, which is one of these: begun with a copy of its files, kept in step by streaming from `upstream`.
 * What a session there sees is decided by `pg_wal_replay_pause()`, too.
 */
export async function startLocalStandby(
  recipe: BinaryRecipe,
  primary: OwnServer,
  upstream: OwnServer = primary,
): Promise<OwnServer> {
  const daemon = new Daemon('standby', unprivileged());
  const env = recipe.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: recipe.libraryPath };
  const data = join(daemon.home, 'data');
  try {
    await copyCluster(daemon, primary.url, data);
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  const { user, password } = postgresLogin;
  const conninfo = `host=127.0.0.1 port=${upstream.port} user=${user} password=${password}`;
  const standby = { primary_conninfo: conninfo, wal_retrieve_retry_interval: '100ms' };
  return await startLocalServer(daemon, {
    executable: join(recipe.directory, recipe.executable),
    env,
    args: (port) => [
      ...['-D', data, '-p', String(port)],
      ...settingsAsArguments({ ...postgresTestSettings, ...standby }),
    ],
    url: (port) => postgresUrl(port),
    greet: greetPostgres,
  });
}

/** An online backup, by a session that stays for as long as the files are copied. */
async function copyCluster(daemon: Daemon, url: string, data: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query(
      `select current_setting('data_directory') as source, current_setting('server_version_num')::int as version`,
    );
    const [{ source, version }] = rows;
    const [begin, end] =
      version >= 150_000
        ? [`pg_backup_start('standby', true)`, 'pg_backup_stop(false)']
        : [`pg_start_backup('standby', true, false)`, 'pg_stop_backup(false, false)'];
    await client.query(`select ${begin}`);
    await daemon.run('/bin/cp', ['-a', source, data]);
    const stopped = await client.query(`select labelfile from ${end}`);
    for (const file of ['postmaster.pid', 'postmaster.opts']) rmSync(join(data, file), { force: true });
    writeFileSync(join(data, 'backup_label'), stopped.rows[0].labelfile);
    writeFileSync(join(data, 'standby.signal'), '');
    const { uid, gid } = statSync(data);
    for (const file of ['backup_label', 'standby.signal']) chownSync(join(data, file), uid, gid);
  } finally {
    await client.end();
  }
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
