/** The fetch from the distribution's archive, really run: into a directory of its own, as on a machine that has nothing. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisFromApt } from './apt-redis.js';
import { findCommand } from './find-binaries.js';
import { startLocalRedis } from './local-redis.js';

let cache: string;

beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), 'lora-store-apt-'));
});

afterAll(() => rmSync(cache, { recursive: true, force: true }));

// A machine without apt-get has one thing to prove here: that it says so.
const debian = findCommand('apt-get') !== undefined;

test('unpacks a redis-server that runs, once', async () => {
  if (!debian) {
    await expect(redisFromApt(cache)).rejects.toThrow('this machine has no apt-get');
    return;
  }
  const [recipe, again] = await Promise.all([redisFromApt(cache), redisFromApt(cache)]);
  expect(again).toEqual(recipe);
  const server = await startLocalRedis(recipe);
  await server.stop();
});
