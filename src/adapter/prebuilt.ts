/**
 * Is a published binary still the one that was published, and one that was built here as long as it says? Asked before it is
 * loaded: a file that was cut short by a full disk or a broken copy makes no error of dlopen's but a SIGBUS, which ends
 * the process. Reading and hashing one takes a millisecond.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { elfBytes } from './elf.js';

interface Manifest {
  readonly binaries: readonly { readonly file: string; readonly bytes: number; readonly sha256: string }[];
}

/** What is wrong with the binary at `path` in words; undefined where nothing is that can be told. */
export function damageOf(path: string, root: string): string | undefined {
  const prebuilds = join(root, 'prebuilds');
  if (!path.startsWith(prebuilds + sep)) return cutShort(path);
  const { binaries } = JSON.parse(readFileSync(join(prebuilds, 'manifest.json'), 'utf8')) as Manifest;
  const file = relative(prebuilds, path).replaceAll(sep, '/');
  const published = binaries.find((binary) => binary.file === file);
  if (published === undefined) return 'is not in prebuilds/manifest.json';
  const content = readFileSync(path);
  if (content.length !== published.bytes) return `has ${content.length} of ${published.bytes} bytes`;
  const sha256 = createHash('sha256').update(content).digest('hex');
  return sha256 === published.sha256 ? undefined : 'has a SHA-256 that is not in prebuilds/manifest.json';
}

function cutShort(path: string): string | undefined {
  const content = readFileSync(path);
  const bytes = elfBytes(content) ?? 0;
  return content.length < bytes ? `has ${content.length} of ${bytes} bytes` : undefined;
}
