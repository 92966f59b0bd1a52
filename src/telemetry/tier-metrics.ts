/** Metrics of memory, Redis and Postgres: what they hold, what they answered, and whether they are asked. */
import { type Metric, one, type Point, TIERS } from './metric.js';

const BREAKER_STATES = ['closed', 'half-open', 'open'];

/** A 1 for the state that holds, and a 0 for each other. */
const states = (tier: string, state: string): Point[] =>
  BREAKER_STATES.map((each) => ({ value: Number(each === state), labels: { tier, state: each } }));

export const tierMetrics: readonly Metric[] = [
  {
    name: 'lora_store.cache.hits',
    instrument: 'counter',
    unit: '{load}',
    description: 'Adapters, of single loads and of many, whose answer this tier held.',
    labels: { tier: ['memory', 'redis'] },
    read: ({ memory, redis }) => [...one(memory.hits, { tier: 'memory' }), ...one(redis.hits, { tier: 'redis' })],
  },
  {
    name: 'lora_store.cache.misses',
    instrument: 'counter',
    unit: '{load}',
    description: 'Adapters for which the next tier had to be asked.',
    labels: { tier: ['memory', 'redis'] },
    read: ({ memory, redis }) => [...one(memory.misses, { tier: 'memory' }), ...one(redis.misses, { tier: 'redis' })],
  },
  {
    name: 'lora_store.memory.usage',
    instrument: 'gauge',
    unit: 'By',
    description: 'Bytes of adapters that memory holds.',
    read: ({ memory }) => one(memory.bytes),
  },
  {
    name: 'lora_store.memory.limit',
    instrument: 'gauge',
    unit: 'By',
    description: 'Bytes of adapters that memory may hold: memory.maxBytes.',
    read: ({ memory }) => one(memory.maxBytes),
  },
  {
    name: 'lora_store.memory.entries',
    instrument: 'gauge',
    unit: '{adapter}',
    description: 'Adapters that memory holds, those known to be absent included.',
    read: ({ memory }) => one(memory.entries),
  },
  {
    name: 'lora_store.memory.evictions',
    instrument: 'counter',
    unit: '{adapter}',
    description: 'Adapters that left memory to make room.',
    read: ({ memory }) => one(memory.evictions),
  },
  {
    name: 'lora_store.redis.fenced',
    instrument: 'counter',
    unit: '{write}',
    description: 'Writes that Redis refused, because something newer or unexpected stood there.',
    read: ({ redis }) => one(redis.fenced),
  },
  {
    name: 'lora_store.redis.timeouts',
    instrument: 'counter',
    unit: '{call}',
    description: 'Calls of Redis whose time ran out; they count as errors, too.',
    read: ({ redis }) => one(redis.timeouts),
  },
  {
    name: 'lora_store.tier.errors',
    instrument: 'counter',
    unit: '{call}',
    description: 'Calls of Redis and Postgres that failed.',
    labels: { tier: ['redis', 'postgres'] },
    read: ({ redis, postgres }) => [
      ...one(redis.errors, { tier: 'redis' }),
      ...one(postgres.errors, { tier: 'postgres' }),
    ],
  },
  {
    name: 'lora_store.corrupt',
    instrument: 'counter',
    unit: '{adapter}',
    description: 'Bytes refused on the way in, by where they lay.',
    labels: { tier: TIERS },
    on: { corrupt: ({ tier }) => one(1, { tier }) },
  },
  {
    name: 'lora_store.breaker.state',
    instrument: 'gauge',
    unit: '{state}',
    description: '1 for the state that the breaker before a tier is in, 0 for the others. Open: nothing is asked.',
    labels: { tier: ['redis', 'postgres'], state: BREAKER_STATES },
    read: ({ redis, postgres }) => [...states('redis', redis.breaker), ...states('postgres', postgres.breaker)],
  },
  {
    name: 'lora_store.postgres.bodies',
    instrument: 'counter',
    unit: '{adapter}',
    description: 'Bodies fetched from Postgres; where a cached one is still the latest, none is.',
    read: ({ postgres }) => one(postgres.loads),
  },
  {
    name: 'lora_store.postgres.pool.connections',
    instrument: 'gauge',
    unit: '{connection}',
    description: 'Connections of the pool, by whether they are in use.',
    labels: { state: ['idle', 'used'] },
    read: ({ postgres: { pool } }) => [
      ...one(pool.idle, { state: 'idle' }),
      ...one(pool.size - pool.idle, { state: 'used' }),
    ],
  },
  {
    name: 'lora_store.postgres.pool.limit',
    instrument: 'gauge',
    unit: '{connection}',
    description: 'Connections that the pool may have.',
    read: ({ postgres: { pool } }) => one(pool.max),
  },
  {
    name: 'lora_store.postgres.pool.waiting',
    instrument: 'gauge',
    unit: '{call}',
    description: 'Calls that wait for a connection.',
    read: ({ postgres: { pool } }) => one(pool.waiting),
  },
];
