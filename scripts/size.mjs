/** Prints what an install costs: the package packed and unpacked, and how many packages it brings. Asks no registry. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runtimeDependencies } from './docs/dependencies.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
// Without scripts: those would build dist anew, below whatever reads it just now.
const packing = ['pack', '--dry-run', '--json', '--ignore-scripts', '--offline'];
const [{ size, unpackedSize, entryCount }] = JSON.parse(
  execFileSync('npm', packing, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
);
const kB = (/** @type {number} */ bytes) => `${(bytes / 1000).toFixed(0)} kB`;
const binaries = existsSync(join(root, 'prebuilds')) ? 'with' : 'without';
console.log(
  `package: ${kB(size)} packed, ${kB(unpackedSize)} unpacked, ${entryCount} files, ${binaries} prebuilt addons`,
);
console.log(`runtime dependencies: ${runtimeDependencies(root).length}, counting those of dependencies`);
