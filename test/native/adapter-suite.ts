/**
 * test/adapter on the addon with the sanitizers in it: in a copy of the project, whose build/Release has that one. Node
 * itself has no sanitizer; the runtime is preloaded, and guards every array that JavaScript hands to the addon.
 */
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clang } from '../support/clang.js';
import { copyProject } from '../support/package.js';
import { run, sanitized } from './programs.js';

export async function adapterSuite(built: string, { runtime }: Clang): Promise<void> {
  const copy = realpathSync(mkdtempSync(join(tmpdir(), 'lora-store-sanitize-')));
  const remove = () => rmSync(copy, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    copyProject(copy);
    mkdirSync(join(copy, 'build/Release'), { recursive: true });
    copyFileSync(join(built, 'addon/lora_store.node'), join(copy, 'build/Release/lora_store.node'));
    const node = (...args: string[]) => [join(copy, 'node_modules', args[0] ?? ''), ...args.slice(1)];
    await run(process.execPath, node('typescript/bin/tsc', '-p', 'tsconfig.build.json'), { cwd: copy });
    await run(process.execPath, node('vitest/vitest.mjs', 'run', '--config', 'test/native/vitest.config.ts'), {
      cwd: copy,
      env: { ...sanitized(), LD_PRELOAD: runtime },
    });
  } finally {
    process.off('exit', remove);
    remove();
  }
}
