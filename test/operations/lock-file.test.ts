import { readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lockFile } from '../../src/operations/lock-file.js';
import { scratchDirectory } from '../cli/archives.js';

const path = join(scratchDirectory(), 'lock');

test('a lock that names our own number is that of a process before us, as in a container, where each is number 1', async () => {
  writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname(), id: 'before us' }));
  const release = await lockFile(path);
  expect(readFileSync(path, 'utf8')).not.toContain('before us');
  await release();
});

test('a lock of a process that lives is held', async () => {
  writeFileSync(path, JSON.stringify({ pid: process.ppid, host: hostname(), id: 'of another' }));
  await expect(lockFile(path)).rejects.toThrow('another process works on this');
});
