/**
 * The cases, in the order in which they run, and the seconds each may take: a --quick run of all of them ends within two
 * minutes, a full one within twenty.
 */
import type { Case } from './harness/bench.js';

export interface Entry {
  /** Of a file in cases/. */
  readonly name: string;
  readonly quickSeconds: number;
  readonly seconds: number;
  load(): Promise<{ default: Case }>;
}

export const entries: readonly Entry[] = [
  { name: 'codec', quickSeconds: 5, seconds: 100, load: () => import('./cases/codec.js') },
  { name: 'allocation', quickSeconds: 2, seconds: 60, load: () => import('./cases/allocation.js') },
  { name: 'arithmetic', quickSeconds: 3, seconds: 30, load: () => import('./cases/arithmetic.js') },
  { name: 'training', quickSeconds: 2, seconds: 20, load: () => import('./cases/training.js') },
  { name: 'memory', quickSeconds: 3, seconds: 60, load: () => import('./cases/memory.js') },
  { name: 'observability', quickSeconds: 3, seconds: 40, load: () => import('./cases/observability.js') },
  { name: 'redis', quickSeconds: 7, seconds: 140, load: () => import('./cases/redis.js') },
  { name: 'postgres', quickSeconds: 7, seconds: 130, load: () => import('./cases/postgres.js') },
  { name: 'batch', quickSeconds: 4, seconds: 60, load: () => import('./cases/batch.js') },
  { name: 'save', quickSeconds: 5, seconds: 90, load: () => import('./cases/save.js') },
  { name: 'system', quickSeconds: 4, seconds: 110, load: () => import('./cases/system.js') },
  { name: 'hit-rate', quickSeconds: 4, seconds: 60, load: () => import('./cases/hit-rate.js') },
  { name: 'invalidation', quickSeconds: 4, seconds: 60, load: () => import('./cases/invalidation.js') },
  { name: 'cold-fleet', quickSeconds: 2, seconds: 30, load: () => import('./cases/cold-fleet.js') },
  { name: 'nodes', quickSeconds: 3, seconds: 40, load: () => import('./cases/nodes.js') },
  { name: 'growth', quickSeconds: 6, seconds: 150, load: () => import('./cases/growth.js') },
  { name: 'footprint', quickSeconds: 4, seconds: 80, load: () => import('./cases/footprint.js') },
];
