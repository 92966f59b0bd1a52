// @ts-check
/**
 * What Prometheus asks for, by prom-client. Each server has a registry of its own, so that two in one process do not mix.
 * @import { FastifyInstance } from 'fastify'
 * @import { LoRAStorage } from 'lora-store'
 * @import { TrainingQueue } from './training-queue.js'
 */
import { Counter, Gauge, Histogram } from 'prom-client';

/** Seconds: a memory hit takes microseconds, a timeout of Postgres three seconds, and 2 ms is the target. */
const LOAD_BUCKETS = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 3];
const REQUEST_BUCKETS = [5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 3];
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
    requestSeconds: new Histogram({
      name: 'lora_http_request_seconds',
      help: 'How long an answer took, by the pattern of its route.',
      labelNames: ['method', 'route', 'status'],
      buckets: REQUEST_BUCKETS,
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
      'Trainings that ended, by result: trained, or the code of what was in the way.',
      'result',
    ),
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
  read('lora_training_running', 'Trainings under way.', () => queue.running);
  // One series, read at one moment: accepted is the sum of the others.
  /** @type {Gauge<'state'>} */
  const events = new Gauge({
    name: 'lora_training_events',
    help: 'Events accepted since the start, and how many of them wait (or are in training), were trained on, were dropped.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      for (const [state, count] of Object.entries(queue.counts)) events.set({ state }, count);
    },
  });

  const cache = new Gauge({
    name: 'lora_cache',
    help: 'What storage.cacheStats() counts, since the start, and how much memory holds.',
    labelNames: ['part', 'what'],
    registers: [registry],
    collect() {
      const { memory, redis, postgres } = storage.cacheStats();
      for (const [part, counts] of Object.entries({ memory, redis, postgres })) {
        for (const [what, count] of Object.entries(counts)) {
          // The rest is no number: the state of a breaker, say.
          if (typeof count === 'number') cache.set({ part, what }, count);
        }
      }
    },
  });
}

/**
 * @param {FastifyInstance} app
 * @param {Metrics} metrics
 */
export function timeRequests(app, { requestSeconds }) {
  app.addHook('onResponse', async ({ method, routeOptions }, reply) => {
    const labels = { method, route: routeOptions.url ?? 'none', status: reply.statusCode };
    requestSeconds.observe(labels, reply.elapsedTime / 1000);
  });
}
