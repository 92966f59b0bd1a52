/** How the parts of a storage object are: numbers for dashboards, and a health check that asks. */
import type { PoolState } from '../postgres/database.js';
import type { BreakerState } from '../tiers/breaker.js';
import type { ReplicaState, ReplicaStats } from '../tiers/replica.js';
import { PING } from '../tiers/statements.js';
import type { Parts } from './open.js';

export interface Health {
  readonly postgres: 'up' | 'down';
  /** Of each of postgres.replicas; without them it is not there. */
  readonly replicas?: readonly ReplicaState[];
  readonly redis: 'up' | 'down' | 'off';
  /** Redis pub/sub. Down: nodes hear of each other's saves through the change feed alone. */
  readonly bus: 'live' | 'down' | 'off';
  /** Postgres LISTEN. Down: every load asks Postgres for the head. */
  readonly changeFeed: 'live' | 'down' | 'off';
}

export interface CacheStats {
  readonly memory: {
    hits: number;
    misses: number;
    entries: number;
    bytes: number;
    maxBytes: number;
    evictions: number;
  };
  readonly redis: {
    hits: number;
    misses: number;
    errors: number;
    timeouts: number;
    fenced: number;
    corrupt: number;
    /** 'open': Redis is left alone after a failure. */
    breaker: BreakerState;
  };
  /** Of the primary. loads: bodies fetched. */
  readonly postgres: { loads: number; errors: number; breaker: BreakerState; pool: PoolState };
  /** One for each of postgres.replicas, in their order. */
  readonly replicas: readonly ReplicaStats[];
  readonly bus: {
    /** False with redis: false. */
    enabled: boolean;
    connected: boolean;
    received: number;
    published: number;
    reconnects: number;
    /** How long this node's message to itself took last; undefined while none has come back. */
    lagMs: number | undefined;
  };
  readonly changeFeed: {
    /** False with changeFeed: false. */
    enabled: boolean;
    /** Its lease runs: memory answers by itself. */
    live: boolean;
    reconnects: number;
    /** Since the last heartbeat that came back was sent; undefined without a change feed. */
    heartbeatAgeMs: number | undefined;
  };
  /** Loads that joined another's flight. */
  readonly coalesced: number;
}

export function cacheStats({ coherence, memory, redis, postgres, replicas, bus, feed, loader }: Parts): CacheStats {
  const now = performance.now();
  const { provenAt } = coherence;
  return {
    memory: {
      hits: memory?.hits ?? 0,
      misses: memory?.misses ?? 0,
      entries: memory?.entries ?? 0,
      bytes: memory?.bytes ?? 0,
      maxBytes: memory?.maxBytes ?? 0,
      evictions: memory?.evictions ?? 0,
    },
    redis: {
      hits: redis?.hits ?? 0,
      misses: redis?.misses ?? 0,
      errors: redis?.errors ?? 0,
      timeouts: redis?.timeouts ?? 0,
      fenced: redis?.fenced ?? 0,
      corrupt: redis?.corrupt ?? 0,
      breaker: redis?.breaker ?? 'closed',
    },
    postgres: { loads: postgres.loads, errors: postgres.errors, breaker: postgres.breaker, pool: postgres.pool },
    replicas: replicas?.stats ?? [],
    bus: {
      enabled: bus !== undefined,
      connected: bus?.connected ?? false,
      received: bus?.received ?? 0,
      published: bus?.published ?? 0,
      reconnects: bus?.reconnects ?? 0,
      lagMs: bus?.lagMs,
    },
    changeFeed: {
      enabled: feed !== undefined,
      live: coherence.live(now),
      reconnects: feed?.reconnects ?? 0,
      heartbeatAgeMs: provenAt === undefined ? undefined : now - provenAt,
    },
    coalesced: loader.coalesced,
  };
}

export async function health({ options, coherence, postgres, replicas, redis, bus }: Parts): Promise<Health> {
  const [postgresUp, redisUp] = await Promise.all([
    answers(postgres.query(PING, [])),
    redis === undefined ? false : answers(redis.ping()),
    replicas?.look(),
  ]);
  return {
    postgres: postgresUp ? 'up' : 'down',
    ...(replicas && { replicas: replicas.stats.map(({ state }) => state) }),
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
