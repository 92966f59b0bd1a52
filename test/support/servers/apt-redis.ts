/** A redis-server on Debian and Ubuntu without installing anything; the dynamic linker is told where its libraries are. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { libraryPath, unpackedFromApt } from './apt.js';
import type { BinaryRecipe } from './server.js';

const execute = promisify(execFile);

/** Unpacked once per cache directory. */
export async function redisFromApt(cache: string): Promise<BinaryRecipe> {
  // redis-server brings the service and its defaults, redis-tools the binary.
  const root = await unpackedFromApt(join(cache, 'redis'), ['redis-server', 'redis-tools'], async (unpacked) => {
    await check(recipeIn(unpacked));
  });
  const recipe = recipeIn(root);
  await check(recipe);
  return recipe;
}

function recipeIn(root: string): BinaryRecipe {
  return {
    kind: 'binary',
    directory: join(root, 'usr/bin'),
    executable: 'redis-server',
    libraryPath: libraryPath(root),
  };
}

async function check({ directory, executable, libraryPath }: BinaryRecipe): Promise<void> {
  const binary = join(directory, executable);
  try {
    await execute(binary, ['--version'], { env: { LD_LIBRARY_PATH: libraryPath } });
  } catch (error) {
    throw new Error(`${binary} was unpacked and does not run`, { cause: error });
  }
}
