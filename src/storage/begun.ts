/** A load that memory could not answer, how far it has come, and its first half: what Redis answers. */
import type { Key } from '../coherence/key.js';
import type { AskPostgres, LoadSteps, Next } from '../coherence/load.js';
import type { Entry } from '../tiers/entry.js';
import { type RedisAnswer, type RedisTier, UNKNOWN } from '../tiers/redis.js';
import { readFilled, readManyFilled } from '../tiers/redis-lease.js';
import type { Tier } from './events.js';

export interface Loaded {
  readonly entry: Entry;
  /** Where its bytes came from. */
  readonly tier: Tier;
  /** Served although it could not be verified. */
  readonly stale: boolean;
  /** The furthest that was asked; 'memory': there was no I/O. */
  readonly asked: Tier;
}

export type Steps = LoadSteps<Entry, Buffer>;

export interface Begun {
  readonly key: Key;
  readonly steps: Steps;
  next: Next<Entry, Buffer>;
  /** Of this load's own, left in Redis: other nodes wait for what is filled in over it. */
  token?: Buffer | undefined;
}

/** Redis did not have what counts. */
export interface Asking extends Begun {
  next: AskPostgres<Entry>;
  /** A replica had the answer. */
  replicated?: Loaded;
}

export function asksPostgres(begun: Begun): begun is Asking {
  return begun.next.do === 'ask postgres';
}

const READ_REDIS = { do: 'read redis' } as const;

/**
 * Whoever finds nothing there claims the key, and whoever is too late for that looks again. Who may not look finds out
 * nothing by claiming: he goes on to Postgres.
 */
export async function askRedis(begun: Begun, redis: RedisTier, fillLease: boolean): Promise<void> {
  const { key, steps } = begun;
  const until = redis.deadline();
  while (begun.next.do === 'read redis') {
    const answer = await (fillLease ? readFilled(redis, key, until) : redis.read(key, until));
    begun.next = steps.redisAnswered(answer, performance.now());
    if (begun.next.do !== 'claim') return;
    const claim = answer === UNKNOWN ? undefined : await redis.claim(key, until);
    if (claim === 'taken' && fillLease) {
      // It was no miss yet: somebody was a moment faster.
      redis.misses--;
      begun.next = READ_REDIS;
    } else {
      begun.token = claim === 'taken' ? undefined : claim;
      begun.next = steps.claimed(begun.token, performance.now());
    }
  }
}

/** The same of many, whose questions go out together. */
export async function askRedisForMany(begun: readonly Begun[], redis: RedisTier, fillLease: boolean): Promise<void> {
  const reading = begun.filter(({ next }) => next.do === 'read redis');
  if (reading.length === 0) return;
  const keys = reading.map(({ key }) => key);
  const until = redis.deadline();
  const found = await (fillLease ? readManyFilled(redis, keys, until) : redis.readMany(keys, until));
  for (const [i, one] of reading.entries()) {
    const answer = found[i] as RedisAnswer;
    if (answer.claimed) one.token = answer.seen;
    const next = one.steps.redisAnswered(answer, performance.now());
    // readMany leaves tokens by itself: where it could not, there is none.
    one.next = next.do === 'claim' ? one.steps.claimed(undefined, performance.now()) : next;
  }
}
