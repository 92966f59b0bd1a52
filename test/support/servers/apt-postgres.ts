/** Postgres with all its tools on Debian and Ubuntu, without installing anything: for what an embedded server lacks, pg_dump. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromNothing, libraryPath, unpackedFromApt } from './apt.js';
import type { BinaryRecipe } from './server.js';

const execute = promisify(execFile);

/** Unpacked once per cache directory. */
export async function postgresFromApt(cache: string): Promise<BinaryRecipe & { readonly libraryPath: string }> {
  const packages = ['postgresql', 'postgresql-client'];
  return recipeIn(await unpackedFromApt(join(cache, 'postgres'), packages, check, fromNothing));
}

function recipeIn(root: string) {
  const versions = join(root, 'usr/lib/postgresql');
  const directory = join(versions, String(readdirSync(versions)[0]), 'bin');
  return { kind: 'binary', directory, executable: 'postgres', libraryPath: libraryPath(root) } as const;
}

async function check(root: string): Promise<void> {
  const { directory, libraryPath } = recipeIn(root);
  for (const binary of ['postgres', 'initdb', 'pg_dump', 'pg_restore', 'psql']) {
    await execute(join(directory, binary), ['--version'], { env: { LD_LIBRARY_PATH: libraryPath } });
  }
}
