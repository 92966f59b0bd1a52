/** From a recipe to a running server. */
import { startPostgresContainer, startRedisContainer } from './containers.js';
import { startLocalPostgres } from './local-postgres.js';
import { startLocalRedis } from './local-redis.js';
import type { OwnServer, Recipe, ServerSettings } from './server.js';

export function startPostgresBy(recipe: Recipe, settings?: ServerSettings): Promise<OwnServer> {
  return recipe.kind === 'container' ? startPostgresContainer(recipe, settings) : startLocalPostgres(recipe, settings);
}

export function startRedisBy(recipe: Recipe, settings?: ServerSettings): Promise<OwnServer> {
  return recipe.kind === 'container' ? startRedisContainer(recipe, settings) : startLocalRedis(recipe, settings);
}
