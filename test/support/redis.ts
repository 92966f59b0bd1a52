/** The Redis that all test files share, and Redis servers of a test's own. */
import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { namespacesOf } from './names.js';
import './provided.js';
import { join } from 'node:path';
import { root } from './root.js';
import { redisFromApt } from './servers/apt-redis.js';
import { findRedis } from './servers/find-binaries.js';
import { startLocalRedis } from './servers/local-redis.js';
import type { BinaryRecipe, OwnServer, ServerSettings } from './servers/server.js';
import { startRedisBy } from './servers/start.js';

export type { OwnServer } from './servers/server.js';

/** Shared by all test files: use it under a `redisNamespace()`, and never flush it. */
export function redisUrl(): string {
  return inject('servers').redis.url;
}

/**
 * A prefix for keys and channels that nobody else has. Numbered databases would not do: publish and subscribe
 * know no databases.
 */
export function redisNamespace(): string {
  return `${namespacesOf(inject('servers').run)}${randomBytes(6).toString('hex')}`;
}

/**
 * A Redis of one's own, to flush, kill and restart. Whoever starts it stops it; should that be forgotten, it ends with
 * the test process. settings: of redis.conf, such as `{ maxmemory: '2mb' }`. It keeps nothing across a restart unless
 * `{ appendonly: 'yes' }` says so.
 */
export async function startRedis(settings?: ServerSettings): Promise<OwnServer> {
  const { recipe } = inject('servers').redis;
  if (recipe.kind === 'none') throw new Error(recipe.reason);
  return await startRedisBy(recipe, settings);
}

/**
 * As startRedis, but always on this machine itself: for servers that have to find each other at the addresses that clients
 * use. portSetting: of a second port that the server is to have.
 */
export async function startRedisProcess(settings?: ServerSettings, portSetting?: string): Promise<OwnServer> {
  return await startLocalRedis(await localRedisRecipe(), settings, portSetting);
}

export async function localRedisRecipe(): Promise<BinaryRecipe> {
  const { recipe } = inject('servers').redis;
  return recipe.kind === 'binary' ? recipe : (findRedis() ?? (await redisFromApt(join(root, '.cache'))));
}
