/**
 * This package once more, with one of its compiled modules changed: what a place in it costs is the difference between two
 * of its methods that differ in nothing else.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../test/support/root.js';

/** What the modules of dist/ find beside it. */
const BESIDE = ['package.json', 'native', 'migrations', 'build', 'prebuilds'];

/** module: below dist/. The files are gone when this resolves, and what is imported lazily with them. */
export async function variant(
  module: string,
  change: (source: string) => string,
): Promise<typeof import('lora-store')> {
  // Below the package, whose dependencies it finds there.
  const parent = join(root, '.cache');
  mkdirSync(parent, { recursive: true });
  const copy = mkdtempSync(join(parent, 'variant-'));
  try {
    cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true });
    for (const name of BESIDE) if (existsSync(join(root, name))) symlinkSync(join(root, name), join(copy, name));
    const path = join(copy, 'dist', module);
    writeFileSync(path, change(readFileSync(path, 'utf8')));
    return await import(pathToFileURL(join(copy, 'dist/index.js')).href);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** from stands there exactly once. */
export function replaced(source: string, from: string, to: string): string {
  const [before, after, ...more] = source.split(from);
  if (after === undefined || more.length > 0) throw new Error(`'${from}' does not stand there exactly once`);
  return `${before}${to}${after}`;
}
