/** The addon of bench/pool, compiled here: a pool of memory that decode could write into. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../../test/support/root.js';

const execute = promisify(execFile);

export interface Pool {
  /** A copy in a block that comes back a turn of the event loop after the collector has found it unused. */
  copy(bytes: Buffer): ArrayBuffer;
  /** How many blocks there are, free or lent. */
  blocks(): number;
}

/** Or why there is none. */
export async function loadPool(): Promise<Pool | string> {
  const require = createRequire(import.meta.url);
  const build = join(root, '.cache/bench-pool');
  const addon = join(build, 'pool.node');
  mkdirSync(build, { recursive: true });
  const headers = join(root, 'node_modules/node-api-headers/include');
  const options = ['-O3', '-fPIC', '-shared', '-std=c++17', `-I${headers}`, '-DNAPI_VERSION=8'];
  try {
    await execute('c++', [...options, '-o', addon, join(root, 'bench/pool/pool.cc')]);
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    return `it was not compiled (${reason}): apt-get install g++`;
  }
  return require(addon) as Pool;
}
