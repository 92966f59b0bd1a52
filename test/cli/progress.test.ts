/** What a terminal shows of work that goes on: `script` of util-linux makes one. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { useStorage } from '../support/storage.js';
import { SCRIPT } from './support.js';

const bench = useStorage();

async function shown(args: readonly string[]): Promise<string> {
  const command = [process.execPath, SCRIPT, ...args].map((word) => `'${word}'`).join(' ');
  const env = { ...process.env, DATABASE_URL: bench.postgresUrl, REDIS_URL: '' };
  const script = ['--quiet', '--flush', '--command', command, '/dev/null'];
  return (await promisify(execFile)('script', script, { env })).stdout;
}

test('a number, and no bar that is full from the first moment, where nobody knows how many there are', async () => {
  const frames = await shown(['verify']);
  expect(frames).toMatch(/0 rows 0s/);
  expect(frames).not.toMatch(/=/);
});

test('a bar as soon as it is known', async () => {
  const frames = await shown(['doctor']);
  expect(frames).toMatch(/0 checks 0s/);
  expect(frames).toMatch(/=+-* \d+\/\d+ checks/);
  expect(frames).not.toMatch(/=\D* 0 checks/);
});
