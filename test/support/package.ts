/** The project packed as for a registry, from a fresh copy and on a machine without a compiler. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { root } from './root.js';
import { findCommand } from './servers/find-binaries.js';

const execute = promisify(execFile);

export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** What is committed, and the dependencies. */
export function copyProject(to: string): void {
  const made = ['node_modules', 'dist', 'build', 'prebuilds', 'coverage', '.git', '.cache', '.demo'];
  cpSync(root, to, { recursive: true, filter: (path) => !made.includes(relative(root, path)) });
  symlinkSync(join(root, 'node_modules'), join(to, 'node_modules'));
}

/** npm where neither CMake nor a compiler is on PATH. */
export async function bareNpm(args: string[], cwd: string, scratch: string) {
  const bin = join(scratch, 'bin');
  mkdirSync(bin, { recursive: true });
  const programs = { node: process.execPath, npm: findCommand('npm') ?? '', sh: '/bin/sh' };
  for (const [name, program] of Object.entries(programs)) {
    rmSync(join(bin, name), { force: true });
    symlinkSync(realpathSync(program), join(bin, name));
  }
  const env = { PATH: bin, HOME: scratch, npm_config_update_notifier: 'false' };
  return await execute(join(bin, 'npm'), args, { cwd, env });
}

/** Path of the tarball, in `scratch`. */
export async function pack(clone: string, scratch: string): Promise<string> {
  await bareNpm(['pack', '--pack-destination', scratch], clone, scratch);
  return join(scratch, `${manifest.name}-${manifest.version}.tgz`);
}
