/** A PgBouncer in transaction mode before one Postgres: Debian's, installed or unpacked from apt. */
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { root } from './root.js';
import { libraryPath, unpackedFromApt } from './servers/apt.js';
import { Daemon } from './servers/daemon.js';
import { findCommand } from './servers/find-binaries.js';
import { unprivileged } from './servers/identity.js';
import { startLocalServer } from './servers/local-server.js';
import type { BinaryRecipe, OwnServer } from './servers/server.js';

/** Where Debian keeps it, which is not on everybody's PATH. */
const SBIN = '/usr/sbin/pgbouncer';

/** settings: of the [pgbouncer] section. sessions: how many of the server's it shares out. */
export async function startPgBouncer(
  postgres: string,
  sessions: number,
  settings: Readonly<Record<string, string>> = {},
): Promise<OwnServer> {
  const recipe = await findPgBouncer();
  const daemon = new Daemon('pgbouncer', unprivileged());
  const behind = new URL(postgres);
  const ini = join(daemon.home, 'pgbouncer.ini');
  const users = join(daemon.home, 'users.txt');
  // It logs in at the server by SCRAM, for which it needs the password itself.
  writeFileSync(users, `"${behind.username}" "${behind.password}"\n`);
  const write = (port: number) =>
    writeFileSync(
      ini,
      [
        '[databases]',
        `* = host=${behind.hostname} port=${behind.port}`,
        '[pgbouncer]',
        'listen_addr = 127.0.0.1',
        `listen_port = ${port}`,
        'unix_socket_dir =',
        'auth_type = scram-sha-256',
        `auth_file = ${users}`,
        'pool_mode = transaction',
        `default_pool_size = ${sessions}`,
        ...Object.entries(settings).map(([name, value]) => `${name} = ${value}`),
      ].join('\n'),
    );
  const through = new URL(postgres);
  return await startLocalServer(daemon, {
    executable: join(recipe.directory, recipe.executable),
    env: recipe.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: recipe.libraryPath },
    args: (port) => {
      write(port);
      for (const file of [ini, users]) chmodSync(file, 0o644);
      return [ini];
    },
    url: (port) => {
      through.port = String(port);
      return through.toString();
    },
    greet,
  });
}

async function findPgBouncer(): Promise<BinaryRecipe> {
  const installed = findCommand('pgbouncer') ?? SBIN;
  if (existsSync(installed)) return { kind: 'binary', directory: dirname(installed), executable: 'pgbouncer' };
  const unpacked = await unpackedFromApt(join(root, '.cache/pgbouncer'), ['pgbouncer'], async () => undefined);
  return {
    kind: 'binary',
    directory: join(unpacked, 'usr/sbin'),
    executable: 'pgbouncer',
    libraryPath: libraryPath(unpacked),
  };
}

async function greet(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
  } finally {
    await client.end();
  }
}
