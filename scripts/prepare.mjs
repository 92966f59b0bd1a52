/**
 * What `npm ci` in a clone runs last (who installs the package from a registry never runs it): builds dist, and the addon
 * where this machine can. An addon that cannot be built fails nothing, since the portable codec does the same work; it
 * costs one line that says so.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const typescript = join(root, 'node_modules/typescript/bin/tsc');
const cmakeJs = join(root, 'node_modules/cmake-js/bin/cmake-js');

/** What compiling needs, each by any of its programs. On Windows CMake itself finds the compiler. */
const tools = [
  { name: 'CMake', programs: ['cmake'] },
  ...(process.platform === 'win32'
    ? []
    : [
        { name: 'a C++17 compiler', programs: [process.env.CXX, 'c++', 'g++', 'clang++'] },
        { name: 'make or ninja', programs: ['make', 'ninja'] },
      ]),
];

if (existsSync(typescript)) {
  buildDist();
  buildAddon();
} else {
  say('dist was not built, for that takes the development dependencies: run npm ci without --omit=dev.');
}

function buildDist() {
  const args = [typescript, '-p', 'tsconfig.build.json'];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

function buildAddon() {
  const missing = tools.filter(({ programs }) => !programs.some(onPath)).map(({ name }) => name);
  if (missing.length > 0) {
    say(`the native codec is not built, for this machine lacks ${missing.join(', ')}. ${portable('install that')}`);
    return;
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, [cmakeJs, 'compile'], { cwd: root, encoding: 'utf8' });
  if (status === 0) return;
  mkdirSync(join(root, 'build'), { recursive: true });
  writeFileSync(join(root, 'build/prepare.log'), stdout + stderr);
  say(`the native codec is not built, for its compilation failed: see build/prepare.log. ${portable('mend that')}`);
}

/** @param {string} remedy */
function portable(remedy) {
  return `The portable one will be used: same results, slower. To build it later, ${remedy}, then: npm run compile`;
}

/** @param {string} text */
function say(text) {
  console.log(`lora-store: ${text}`);
}

/** @param {string | undefined} program A name, or a path. */
function onPath(program) {
  if (!program) return false;
  const suffixes = process.platform === 'win32' ? ['.exe', '.cmd', '.bat'] : [''];
  const directories = program.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  return directories.some((directory) => suffixes.some((suffix) => executable(join(directory, program + suffix))));
}

/** @param {string} path */
function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
