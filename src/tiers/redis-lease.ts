/**
 * Reads of Redis by whoever may wait: while another reader's token stands, he is asking Postgres, and what he fills in is
 * awaited until `deadline`. So of all nodes that find nothing one asks Postgres. The token of one who does not come back
 * may be filled over; where it was taken away, the key may be claimed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Key } from '../coherence/key.js';
import { type RedisAnswer, type RedisTier, UNKNOWN } from './redis.js';

/** Pauses between two looks at a token: doubled from the first, which is about what a load from Postgres takes. */
const FIRST_LOOK_MS = 1;
const LAST_LOOK_MS = 8;

export async function readFilled(redis: RedisTier, key: Key, deadline: number): Promise<RedisAnswer> {
  let answer = await redis.read(key, deadline);
  for (const pauseMs of pausesUntil(deadline)) {
    if (!isAnothers(answer)) break;
    await sleep(pauseMs);
    answer = latter(redis, answer, await redis.read(key, deadline));
  }
  return answer;
}

/**
 * The same of many, in one round trip each time; result[i] answers keys[i]. Whoever has claimed one of them waits for none,
 * since others wait for him: two batches that cross would wait for each other.
 */
export async function readManyFilled(redis: RedisTier, keys: readonly Key[], deadline: number): Promise<RedisAnswer[]> {
  const answers = await redis.readMany(keys, deadline);
  for (const pauseMs of pausesUntil(deadline)) {
    const waiting = answers.flatMap((answer, i) => (isAnothers(answer) ? [i] : []));
    if (waiting.length === 0 || answers.some(({ claimed }) => claimed)) break;
    await sleep(pauseMs);
    const again = waiting.map((i) => keys[i] as Key);
    for (const [n, found] of (await redis.readMany(again, deadline)).entries()) {
      const i = waiting[n] as number;
      answers[i] = latter(redis, answers[i] as RedisAnswer, found);
    }
  }
  return answers;
}

/** As a rule time runs out in the middle of a pause, and then Redis is not asked any more: the token was seen before. */
function latter(redis: RedisTier, before: RedisAnswer, now: RedisAnswer): RedisAnswer {
  if (now === UNKNOWN) return before;
  // What was looked at again was no miss yet.
  redis.misses--;
  return now;
}

function isAnothers({ entry, seen, claimed }: RedisAnswer): boolean {
  return entry === undefined && seen !== undefined && !claimed;
}

function* pausesUntil(deadline: number): Generator<number> {
  for (let ms = FIRST_LOOK_MS; performance.now() + ms < deadline; ms = Math.min(2 * ms, LAST_LOOK_MS)) yield ms;
}
