// @ts-check
/** What the dashboard shows, in rows: each panel with the series that it draws. */
import { perSecond, quantile, series } from './names.js';

/** Chosen at the top of the dashboard. */
const NODES = 'job=~"$job",instance=~"$instance"';
const WINDOW = '$__rate_interval';

/** @typedef {{ expr: string, legend: string }} Target */
/** @typedef {{ title: string, unit: string, targets: Target[] }} Panel */

const selected = (/** @type {string} */ selector) => (selector === '' ? NODES : `${NODES},${selector}`);

/**
 * @param {string} source of a counter
 * @param {string} by
 * @param {string} [legend]
 */
const counted = (source, by, legend = legendOf(by)) => ({
  expr: perSecond(series(source, NODES), WINDOW, by),
  legend,
});

/**
 * @param {string} source of a histogram
 * @param {string} by
 */
const calls = (source, by) => ({
  expr: perSecond(series(source, NODES, '_count'), WINDOW, by),
  legend: legendOf(by),
});

/**
 * @param {string} source of a gauge
 * @param {string} [by]
 * @param {string} [selector]
 */
const gauge = (source, by = 'instance', selector = '') => ({
  expr: `max by (${by}) (${series(source, selected(selector))})`,
  legend: legendOf(by),
});

/**
 * The median and the slowest in a hundred.
 * @param {string} source
 * @param {string} by
 */
const durations = (source, by) =>
  [0.5, 0.99].map((q) => ({
    expr: quantile(q, source, WINDOW, { selector: NODES, by }),
    legend: `p${100 * q} ${legendOf(by)}`,
  }));

/**
 * @param {string} title
 * @param {string} unit of Grafana
 * @param {...(Target | Target[])} targets
 * @returns {Panel}
 */
const panel = (title, unit, ...targets) => ({ title, unit, targets: targets.flat() });

function legendOf(/** @type {string} */ by) {
  return by
    .split(', ')
    .map((label) => `{{${label}}}`)
    .join(' ');
}

/** @param {string} tier */
const hitRate = (tier) => {
  const [hits, misses] = ['hits', 'misses'].map((what) =>
    perSecond(series(`lora_store.cache.${what}`, selected(`tier="${tier}"`)), WINDOW),
  );
  return { expr: `${hits} / (${hits} + ${misses})`, legend: tier };
};

/** @type {{ title: string, panels: Panel[] }[]} */
export const rows = [
  {
    title: 'Loads',
    panels: [
      panel('Loads by tier and outcome', 'ops', calls('lora_store.load.duration', 'tier, outcome')),
      panel('How long a load takes', 's', durations('lora_store.load.duration', 'tier')),
      panel(
        'Loads that failed, and fallbacks',
        'ops',
        counted('lora_store.load.failures', 'operation, outcome'),
        counted('lora_store.fallbacks', 'instance', 'fallback {{instance}}'),
      ),
      panel('How old what is served may be', 's', durations('lora_store.load.verified_age', 'tier')),
      panel('How long a call for many takes', 's', durations('lora_store.load_many.duration', 'outcome')),
      panel('Adapters of calls for many', 'ops', counted('lora_store.load_many.adapters', 'outcome')),
      panel("Loads that joined another's", 'ops', counted('lora_store.load.coalesced', 'instance')),
    ],
  },
  {
    title: 'Saves',
    panels: [
      panel('Saves by outcome', 'ops', calls('lora_store.save.duration', 'operation, outcome')),
      panel('How long a save takes', 's', durations('lora_store.save.duration', 'operation')),
      panel('Saves that failed', 'ops', counted('lora_store.save.failures', 'operation, outcome')),
    ],
  },
  {
    title: 'Memory and Redis',
    panels: [
      panel('Hit rate', 'percentunit', hitRate('memory'), hitRate('redis')),
      panel('Bytes in memory', 'bytes', gauge('lora_store.memory.usage'), {
        ...gauge('lora_store.memory.limit'),
        legend: 'limit {{instance}}',
      }),
      panel('Adapters in memory', 'short', gauge('lora_store.memory.entries')),
      panel('Evictions', 'ops', counted('lora_store.memory.evictions', 'instance')),
      panel(
        'Calls that failed',
        'ops',
        counted('lora_store.tier.errors', 'tier'),
        counted('lora_store.redis.timeouts', 'instance', 'redis, time was up {{instance}}'),
      ),
      panel('Writes that Redis refused', 'ops', counted('lora_store.redis.fenced', 'instance')),
      panel('Bytes refused', 'ops', counted('lora_store.corrupt', 'tier')),
    ],
  },
  {
    title: 'Postgres',
    panels: [
      panel('Connections', 'short', gauge('lora_store.postgres.pool.connections', 'instance, state'), {
        ...gauge('lora_store.postgres.pool.limit'),
        legend: 'limit {{instance}}',
      }),
      panel('Calls that wait for a connection', 'short', gauge('lora_store.postgres.pool.waiting')),
      panel('Bodies fetched', 'ops', counted('lora_store.postgres.bodies', 'instance')),
      panel('Replicas by state', 'short', gauge('lora_store.replicas', 'instance, state')),
      panel('Replicas: lag of the last', 's', gauge('lora_store.replica.lag')),
      panel(
        'Replicas: bodies, answers that did not count, failures',
        'ops',
        counted('lora_store.replica.bodies', 'instance', 'bodies {{instance}}'),
        counted('lora_store.replica.refused', 'instance', 'did not count {{instance}}'),
        counted('lora_store.replica.errors', 'instance', 'failed {{instance}}'),
      ),
    ],
  },
  {
    title: 'Between nodes',
    panels: [
      panel('Change feed: live', 'bool_yes_no', gauge('lora_store.change_feed.live')),
      panel('Change feed: age of the last heartbeat', 's', gauge('lora_store.change_feed.heartbeat_age')),
      panel('Bus: connected', 'bool_yes_no', gauge('lora_store.bus.connected')),
      panel('Bus: a message to oneself', 's', gauge('lora_store.bus.lag')),
      panel('Bus: messages', 'ops', counted('lora_store.bus.messages', 'direction')),
      panel('Invalidations, by who told', 'ops', counted('lora_store.invalidations', 'via')),
      panel('Connected again', 'ops', counted('lora_store.reconnects', 'part')),
    ],
  },
  {
    title: 'Outages',
    panels: [
      panel(
        'Breakers that are not closed',
        'short',
        gauge('lora_store.breaker.state', 'instance, tier, state', 'state!="closed"'),
      ),
      panel('Parts that stopped answering', 'ops', counted('lora_store.degradations', 'part')),
      panel('How long they were away', 's', durations('lora_store.outage.duration', 'part')),
    ],
  },
];
