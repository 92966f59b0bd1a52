/** How the parts of a storage object are: counters for dashboards, and a health check that asks. */
import { PING } from '../tiers/statements.js';
import type { Parts } from './open.js';

export interface Health {
  readonly postgres: 'up' | 'down';
  readonly redis: 'up' | 'down' | 'off';
  /** Redis pub/sub. Down: nodes hear of each other's saves through the change feed alone. */
  readonly bus: 'live' | 'down' | 'off';
  /** Postgres LISTEN. Down: every load asks Postgres for the head. */
  readonly changeFeed: 'live' | 'down' | 'off';
}

export interface CacheStats {
  readonly memory: { hits: number; misses: number; entries: number; bytes: number; evictions: number };
  readonly redis: { hits: number; misses: number; errors: number; timeouts: number; fenced: number; corrupt: number };
  /** loads: bodies fetched. */
  readonly postgres: { loads: number; errors: number };
  readonly bus: { connected: boolean; received: number; published: number; reconnects: number };
  /** Loads that joined another's flight. */
  readonly coalesced: number;
}

export function cacheStats({ memory, redis, postgres, bus, loader }: Parts): CacheStats {
  return {
    memory: {
      hits: memory?.hits ?? 0,
      misses: memory?.misses ?? 0,
      entries: memory?.entries ?? 0,
      bytes: memory?.bytes ?? 0,
      evictions: memory?.evictions ?? 0,
    },
    redis: {
      hits: redis?.hits ?? 0,
      misses: redis?.misses ?? 0,
      errors: redis?.errors ?? 0,
      timeouts: redis?.timeouts ?? 0,
      fenced: redis?.fenced ?? 0,
      corrupt: redis?.corrupt ?? 0,
    },
    postgres: { loads: postgres.loads, errors: postgres.errors },
    bus: {
      connected: bus?.connected ?? false,
      received: bus?.received ?? 0,
      published: bus?.published ?? 0,
      reconnects: bus?.reconnects ?? 0,
    },
    coalesced: loader.coalesced,
  };
}

export async function health({ options, coherence, postgres, redis, bus }: Parts): Promise<Health> {
  const [postgresUp, redisUp] = await Promise.all([
    answers(postgres.query(PING, [])),
    redis === undefined ? false : answers(redis.ping()),
  ]);
  return {
    postgres: postgresUp ? 'up' : 'down',
    redis: redis === undefined ? 'off' : redisUp ? 'up' : 'down',
    bus: bus === undefined ? 'off' : bus.connected ? 'live' : 'down',
    changeFeed: !options.changeFeed ? 'off' : coherence.live(performance.now()) ? 'live' : 'down',
  };
}

async function answers(question: Promise<unknown>): Promise<boolean> {
  return question.then(
    () => true,
    () => false,
  );
}
