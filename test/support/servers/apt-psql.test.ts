/** psql from the distribution's archive, really fetched: as on a machine that has a Postgres in a container, and no client. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import '../provided.js';
import { clientsFromApt } from './apt-psql.js';
import { findCommand } from './find-binaries.js';

let cache: string;

beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), 'lora-store-apt-'));
});

afterAll(() => rmSync(cache, { recursive: true, force: true }));

// A machine without apt-get has one thing to prove here: that it says so.
const debian = findCommand('apt-get') !== undefined;

test('unpacks a psql that asks a server', async () => {
  if (!debian) {
    await expect(clientsFromApt(cache)).rejects.toThrow('this machine has no apt-get');
    return;
  }
  const { directory, libraryPath } = await clientsFromApt(cache);
  expect(directory.startsWith(cache)).toBe(true);
  const args = ['-X', '-A', '-t', '-c', 'select 41 + 1', inject('servers').postgres.url];
  const { stdout } = await promisify(execFile)(join(directory, 'psql'), args, {
    env: { LD_LIBRARY_PATH: libraryPath },
  });
  expect(stdout).toBe('42\n');
});
