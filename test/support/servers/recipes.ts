/**
 * Tries the choices in order until one serves: finds it, starts it, and keeps the recipe by which test files start more
 * of the same kind. A choice that is there and fails, say a Docker without access to its registry, yields to the next.
 */
import { join } from 'node:path';
import { root } from '../root.js';
import { redisFromApt } from './apt-redis.js';
import type { PostgresChoice, RedisChoice, Refusal } from './choices.js';
import { guardContainersOf, requireDocker } from './containers.js';
import { copyEmbeddedPostgres, findEmbeddedPostgres } from './embedded-postgres.js';
import { findPostgres, findRedis } from './find-binaries.js';
import type { OwnServer, Recipe, ServerSettings } from './server.js';
import { startPostgresBy, startRedisBy } from './start.js';

const cache = join(root, '.cache');

/** A server that came up, by which choice, and how to make another. */
export interface Found {
  readonly choice: string;
  readonly recipe: Recipe;
  readonly server: OwnServer;
}

export interface Run {
  /** Name of this run in labels and databases. */
  readonly name: string;
  /** A directory that ends with the run and that every user can reach. */
  readonly scratch: string;
  readonly env: NodeJS.ProcessEnv;
}

export function findPostgresServer(
  order: readonly PostgresChoice[],
  run: Run,
  refusals: Refusal[],
  settings?: ServerSettings,
): Promise<Found | undefined> {
  const image = run.env.LORA_STORE_TEST_POSTGRES_IMAGE ?? 'postgres:16';
  return firstThatServes(order, refusals, (recipe) => startPostgresBy(recipe, settings), {
    url: notAServerOfOurs,
    binary: async () => findPostgres() ?? refuse('no initdb and postgres on PATH or under /usr/lib/postgresql/*/bin'),
    docker: () => containerRecipe(image, run),
    embedded: async () => {
      const native =
        findEmbeddedPostgres() ?? refuse('the package embedded-postgres is not installed for this platform');
      return copyEmbeddedPostgres(native, join(run.scratch, 'postgres'));
    },
  });
}

export function findRedisServer(
  order: readonly RedisChoice[],
  run: Run,
  refusals: Refusal[],
  settings?: ServerSettings,
): Promise<Found | undefined> {
  const image = run.env.LORA_STORE_TEST_REDIS_IMAGE ?? 'redis:7';
  return firstThatServes(order, refusals, (recipe) => startRedisBy(recipe, settings), {
    url: notAServerOfOurs,
    binary: async () => findRedis() ?? refuse('no redis-server and no valkey-server on PATH'),
    docker: () => containerRecipe(image, run),
    apt: () => redisFromApt(cache),
  });
}

async function firstThatServes<Choice extends string>(
  order: readonly Choice[],
  refusals: Refusal[],
  start: (recipe: Recipe) => Promise<OwnServer>,
  find: Record<Choice, () => Promise<Recipe>>,
): Promise<Found | undefined> {
  for (const choice of order) {
    try {
      const recipe = await find[choice]();
      return { choice, recipe, server: await start(recipe) };
    } catch (error) {
      refusals.push({ choice, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return undefined;
}

async function containerRecipe(image: string, run: Run): Promise<Recipe> {
  await requireDocker();
  guardContainersOf(run.name);
  return { kind: 'container', image, run: run.name };
}

async function notAServerOfOurs(): Promise<Recipe> {
  return refuse('a server at a URL cannot be started here');
}

function refuse(reason: string): never {
  throw new Error(reason);
}
