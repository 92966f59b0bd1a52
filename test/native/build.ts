/** Builds what test/native/CMakeLists.txt says, and runs the unit tests among it. */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clang } from '../support/clang.js';
import { root } from '../support/root.js';
import { run, sanitized } from './programs.js';

const require = createRequire(import.meta.url);

/** The directory of what was built: the programs, and addon/lora_store.node. One for each compiler, as CMake wants it. */
export async function build({ from, compiler, env }: Clang): Promise<string> {
  const to = join(root, '.cache/sanitize', from);
  const nodeApi = require('node-api-headers') as { include_dir: string };
  const settings = {
    CMAKE_BUILD_TYPE: 'Release',
    CMAKE_CXX_COMPILER: compiler,
    // As cmake-js would say it.
    CMAKE_JS_INC: [nodeApi.include_dir, dirname(require.resolve('node-addon-api'))].join(';'),
  };
  const defined = Object.entries(settings).map(([key, value]) => `-D${key}=${value}`);
  const here = fileURLToPath(new URL('.', import.meta.url));
  await run('cmake', ['-S', here, '-B', to, '-Wno-dev', ...defined], { env });
  await run('cmake', ['--build', to, '--parallel', `${availableParallelism()}`], { env });
  return to;
}

export async function unitTests(built: string): Promise<void> {
  const args = ['--output-on-failure', '--no-tests=error', '--timeout', '300', '-j', `${availableParallelism()}`];
  await run('ctest', args, { cwd: built, env: sanitized() });
}
