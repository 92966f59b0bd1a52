/** What the figures were measured on. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { codec } from 'lora-store';
import { root } from '../../test/support/root.js';
import type { Environment } from './results.js';

/** Packages of npm that a case compares with, or that this package works through. */
const PACKAGES = ['pg', 'postgres', 'ioredis', 'redis', 'lru-cache', 'bentocache', 'cacheable', 'msgpackr'];

/** What can be known before a case has run; servers and toolchains come with the cases. */
export function environment(): Environment {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: `${type()} ${release()}`,
    node: [process.version, ...settings()].join(', '),
    codec: codec.kind === 'native' ? `native (${codec.simd})` : `portable: ${codec.reason}`,
    servers: {},
    versions: {
      'lora-store': versionIn('.'),
      ...Object.fromEntries(PACKAGES.map((name) => [name, versionIn(join('node_modules', name))])),
    },
    commit: commit(),
  };
}

/** What in this process's environment decides how fast Node and its allocator are. */
function settings(): string[] {
  const telling = /^(MALLOC_|NODE_OPTIONS$|UV_|LD_PRELOAD$)/;
  return Object.entries(process.env).flatMap(([name, value]) => (telling.test(name) ? [`${name}=${value}`] : []));
}

function versionIn(directory: string): string {
  return (JSON.parse(readFileSync(join(root, directory, 'package.json'), 'utf8')) as { version: string }).version;
}

function commit(): string {
  try {
    const hash = git('rev-parse', '--short=12', 'HEAD');
    return git('status', '--porcelain') === '' ? hash : `${hash}+`;
  } catch {
    return 'unknown: no git, or no checkout';
  }
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}
