/** A Postgres of its own, for a test that kills it or needs settings of its own. */
import { inject } from 'vitest';
import './provided.js';
import type { OwnServer, ServerSettings } from './servers/server.js';
import { startPostgresBy } from './servers/start.js';

export type { OwnServer } from './servers/server.js';

/**
 * A new cluster with one empty database, which `url` names. Whoever starts it stops it; should that be forgotten, it
 * ends with the test process. settings: of postgresql.conf, such as `{ max_connections: '20' }`.
 */
export async function startPostgres(settings?: ServerSettings): Promise<OwnServer> {
  const { recipe } = inject('servers').postgres;
  if (recipe.kind === 'none') throw new Error(recipe.reason);
  return await startPostgresBy(recipe, settings);
}
