// @ts-check
/**
 * What Prometheus asks for, by prom-client. Each server has a registry of its own, so that two in one process do not mix.
 * @import { LoRAStorage } from 'lora-store'
 * @import { TrainingQueue } from './training-queue.js'
 */
import { Counter, Gauge, Histogram } from 'prom-client';

/** Seconds: a memory hit takes microseconds, a timeout of Postgres three seconds, and 2 ms is the target. */
const LOAD_BUCKETS = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 3];
const TRAINING_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const PARTS = ['postgres', 'redis', 'bus', 'change-feed'];

/** @typedef {ReturnType<typeof createMetrics>} Metrics */

/** @param {import('prom-client').Registry} registry */
export function createMetrics(registry) {
  const registers = [registry];
  const counter = (/** @type {string} */ name, /** @type {string} */ help, /** @type {string[]} */ ...labelNames) =>
    new Counter({ name, help, labelNames, registers });
  const metrics = {
    registry,
    loads: counter('lora_loads_total', 'Adapters loaded, by the tier that answered.', 'tier'),
    staleLoads: counter('lora_stale_loads_total', 'Of these, served without a possible verification.'),
    loadSeconds: new Histogram({
      name: 'lora_load_seconds',
      help: 'How long a load took, by the tier that answered.',
      labelNames: ['tier'],
      buckets: LOAD_BUCKETS,
      registers,
    }),
    ranks: counter(
      'lora_rank_requests_total',
      'Rankings, by outcome: personalised, or the code of what was in the way.',
      'outcome',
    ),
    invalidations: counter('lora_invalidations_total', 'Entries that another write made outdated, by who told.', 'via'),
    corrupt: counter('lora_corrupt_total', 'Bytes refused on the way in.', 'tier'),
    degraded: new Gauge({
      name: 'lora_degraded',
      help: '1 while this part does not answer.',
      labelNames: ['part'],
      registers,
    }),
    trainings: counter(
      'lora_trainings_total',
      'Trainings that ended, by result: trained, again, or an error code.',
      'result',
    ),
    trainedEvents: counter('lora_trained_events_total', 'Events that were trained on.'),
    trainingSeconds: new Histogram({
      name: 'lora_training_seconds',
      help: 'How long a training took, from its load to its save.',
      buckets: TRAINING_BUCKETS,
      registers,
    }),
  };
  // A series that is not there is no zero.
  for (const part of PARTS) metrics.degraded.set({ part }, 0);
  return metrics;
}

/**
 * Numbers that others count, read when Prometheus asks.
 * @param {Metrics} metrics
 * @param {LoRAStorage} storage
 * @param {TrainingQueue} queue
 */
export function readFrom({ registry }, storage, queue) {
  const read = (/** @type {string} */ name, /** @type {string} */ help, /** @type {() => number} */ value) => {
    /** @type {Gauge} */
    const gauge = new Gauge({ name, help, registers: [registry], collect: () => gauge.set(value()) });
  };
  read('lora_training_waiting_events', 'Events that wait to be trained on.', () => queue.waiting);
  read('lora_training_running', 'Trainings under way.', () => queue.running);
  read('lora_training_dropped_events', 'Events given up, since the start.', () => queue.dropped);
  read('lora_memory_hits', 'Loads that memory answered, since the start.', () => storage.cacheStats().memory.hits);
  read('lora_memory_misses', 'Loads that it did not.', () => storage.cacheStats().memory.misses);
  read('lora_memory_entries', 'Adapters in memory.', () => storage.cacheStats().memory.entries);
  read('lora_memory_bytes', 'Their bytes.', () => storage.cacheStats().memory.bytes);
  read(
    'lora_memory_evictions',
    'Adapters that had to make room, since the start.',
    () => storage.cacheStats().memory.evictions,
  );
  read('lora_redis_hits', 'Loads that Redis answered, since the start.', () => storage.cacheStats().redis.hits);
  read('lora_redis_misses', 'Loads that it did not.', () => storage.cacheStats().redis.misses);
  read(
    'lora_postgres_loads',
    'Adapters fetched from Postgres, since the start.',
    () => storage.cacheStats().postgres.loads,
  );
  read(
    'lora_coalesced_loads',
    'Loads that joined the flight of another, since the start.',
    () => storage.cacheStats().coalesced,
  );
}
