/** Commands on a Postgres in a directory. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LoRAStorage } from '../../src/storage/lora-storage.js';
import { makeCluster, makeScratch, postmasterPid } from '../postgres/embedded/support.js';
import { smallAdapter } from '../support/storage.js';
import { lora } from './support.js';

const USER = '3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f';

test('start its server, or join the one that runs, and leave it as they found it', async () => {
  const directory = makeCluster();
  const env = { DATABASE_URL: `embedded:${directory}` };
  const storage = await LoRAStorage.open({ postgres: env.DATABASE_URL, redis: false, createMissingUsers: true });
  await storage.saveAdapter(smallAdapter(USER));
  const running = postmasterPid(directory);
  expect((await lora(['list', USER], env)).stdout).toContain('default');
  expect(postmasterPid(directory)).toBe(running);
  await storage.close();
  for (const [args, says] of [
    [['stats'], '1 version of 1 user'],
    [['top', '--postgres', env.DATABASE_URL], USER],
    [['migrate', 'status'], 'the schema is that of this version'],
    [['verify'], 'checked 1 rows'],
    [['export', join(makeScratch(), 'all.tar')], '1 version'],
  ] as const) {
    const { code, stdout, stderr } = await lora(args, env);
    expect([args[0], code, stderr + stdout]).toEqual([args[0], 0, expect.stringContaining(says)]);
    expect(postmasterPid(directory)).toBeUndefined();
  }
});

test('make none: a path that is not one is told', async () => {
  const directory = join(makeScratch(), 'nowhere');
  for (const args of [['stats'], ['migrate', 'up'], ['doctor']]) {
    const { code, stderr } = await lora(args, { DATABASE_URL: `embedded:${directory}` });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/there is no Postgres in .*nowhere.*LoRAStorage\.open/)]);
  }
  expect(existsSync(directory)).toBe(false);
});
