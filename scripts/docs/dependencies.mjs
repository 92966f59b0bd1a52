/** What an install of the package brings: every entry of the lockfile that is neither ours alone nor somebody's choice. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @param {string} root
 * @returns {{ name: string, version: string, hasInstallScript: boolean }[]} Sorted by name and version.
 */
export function runtimeDependencies(root) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const brought = Object.entries(packages)
    .filter(([path, { dev, devOptional, peer }]) => path !== '' && !dev && !devOptional && !peer)
    .map(([path, { version, hasInstallScript = false }]) => {
      return { name: path.slice(path.lastIndexOf('node_modules/') + 13), version, hasInstallScript };
    });
  // One that lies in several places is one package.
  const byName = new Map(brought.map((dependency) => [`${dependency.name}@${dependency.version}`, dependency]));
  return [...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, dependency]) => dependency);
}
