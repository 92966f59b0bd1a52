/**
 * Runs once before all test files: gets a real Postgres and a real Redis, makes the template database, and says where
 * they came from. Runs again after the last one: leaves no process, no file and, in servers that were given by URL, no
 * database and no key.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { Redis } from 'ioredis';
import type { TestProject } from 'vitest/node';
import { namespacesOf } from './names.js';
import './provided.js';
import { noServer, orderOfChoices, ownServers, type Refusal } from './servers/choices.js';
import { removeContainersOf } from './servers/containers.js';
import { Daemon } from './servers/daemon.js';
import { greetPostgres } from './servers/local-postgres.js';
import { greetRedis } from './servers/local-redis.js';
import { type Found, findPostgresServer, findRedisServer, type Run } from './servers/recipes.js';
import type { NoRecipe, OwnServer, Recipe } from './servers/server.js';
import { createTemplate, dropDatabasesOf } from './template.js';

/** The server that all test files share, and how a test starts another. */
interface Shared {
  readonly url: string;
  readonly from: string;
  readonly recipe: Recipe | NoRecipe;
  /** Absent: a URL named it, and it stays. */
  readonly server?: OwnServer;
}

type Find<Choice> = (order: readonly Choice[], run: Run, refusals: Refusal[]) => Promise<Found | undefined>;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const name = randomBytes(4).toString('hex');
  const scratch = new Daemon('run');
  chmodSync(scratch.home, 0o755);
  const run: Run = { name, scratch: scratch.home, env: process.env };
  const order = orderOfChoices(process.env);
  const [postgres, redis] = await Promise.all([
    share('Postgres', process.env.TEST_DATABASE_URL, order.postgres, ownServers.postgres, findPostgresServer, run),
    share('Redis', process.env.TEST_REDIS_URL, order.redis, ownServers.redis, findRedisServer, run),
  ]);
  const template = await createTemplate(postgres.url, name);
  project.provide('servers', {
    run: name,
    postgres: { url: postgres.url, template, recipe: postgres.recipe },
    redis: { url: redis.url, recipe: redis.recipe },
  });
  process.stderr.write(`Postgres: ${postgres.from}. Redis: ${redis.from}.\n`);

  return async () => {
    if (postgres.server === undefined) await dropDatabasesOf(postgres.url, name);
    if (redis.server === undefined) await removeKeysOf(redis.url, name);
    await Promise.all([postgres.server?.stop(), redis.server?.stop()]);
    if (postgres.recipe.kind === 'container' || redis.recipe.kind === 'container') await removeContainersOf(name);
    await scratch.stop();
  };
}

async function share<Choice extends string>(
  kind: 'Postgres' | 'Redis',
  url: string | undefined,
  order: readonly Choice[],
  own: readonly Choice[],
  find: Find<Choice>,
  run: Run,
): Promise<Shared> {
  const refusals: Refusal[] = [];
  const given = order.some((choice) => choice === 'url');
  const found = await find(given ? own : order, run, refusals);
  if (given && url !== undefined) {
    await greet(kind, url);
    // Its recipe is all we want of this one: it has just proved to work.
    await found?.server.stop();
    const recipe = found?.recipe ?? { kind: 'none', reason: noServer(kind, refusals).message };
    return { url, from: 'the URL given', recipe };
  }
  if (found === undefined) throw noServer(kind, refusals);
  const { choice, recipe, server } = found;
  const where = recipe.kind === 'container' ? recipe.image : recipe.directory;
  return { url: server.url, from: `${choice} (${where})`, recipe, server };
}

/** A server that was named and does not answer is an error at once, and no reason to look for another. */
async function greet(kind: 'Postgres' | 'Redis', url: string): Promise<void> {
  const [variable, greeting] =
    kind === 'Postgres' ? ['TEST_DATABASE_URL', greetPostgres] : ['TEST_REDIS_URL', greetRedis];
  try {
    await greeting(url);
  } catch (cause) {
    throw new Error(`${variable} names a ${kind} that does not serve: ${(cause as Error).message}`, { cause });
  }
}

async function removeKeysOf(url: string, run: string): Promise<void> {
  const client = new Redis(url);
  try {
    for await (const keys of client.scanStream({ match: `${namespacesOf(run)}*`, count: 1000 })) {
      if (keys.length > 0) await client.unlink(...keys);
    }
  } finally {
    client.disconnect();
  }
}
