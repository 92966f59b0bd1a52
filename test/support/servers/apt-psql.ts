/** psql and pg_dump: those of this machine, or on Debian and Ubuntu unpacked without installing anything. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromNothing, libraryPath, unpackedFromApt } from './apt.js';
import { findPsql } from './find-binaries.js';

const execute = promisify(execFile);

export interface PostgresClients {
  readonly directory: string;
  /** Directories of shared objects that the machine lacks. */
  readonly libraryPath?: string;
}

/** On PATH, where Debian keeps it beside the server, or unpacked once per cache directory. */
export async function postgresClients(cache: string): Promise<PostgresClients> {
  const directory = findPsql();
  return directory === undefined ? await clientsFromApt(cache) : { directory };
}

export async function clientsFromApt(cache: string): Promise<PostgresClients> {
  const root = await unpackedFromApt(
    join(cache, 'postgresql-client'),
    ['postgresql-client'],
    (unpacked) => check(clientsIn(unpacked)),
    fromNothing,
  );
  return clientsIn(root);
}

/** Not the wrapper in usr/bin: it looks for them where apt would have installed them. */
function clientsIn(root: string): PostgresClients {
  const versions = join(root, 'usr/lib/postgresql');
  const [newest = ''] = readdirSync(versions).sort((a, b) => Number(b) - Number(a));
  return { directory: join(versions, newest, 'bin'), libraryPath: libraryPath(root) };
}

async function check({ directory, libraryPath }: PostgresClients): Promise<void> {
  try {
    await execute(join(directory, 'psql'), ['--version'], { env: { LD_LIBRARY_PATH: libraryPath } });
  } catch (error) {
    throw new Error(`${directory}/psql was unpacked and does not run`, { cause: error });
  }
}
