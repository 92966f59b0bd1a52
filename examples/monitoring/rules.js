// @ts-check
/** Alerts for Prometheus: what is wrong, for how long, and what to do. Thresholds are to be adapted; why each is there is in docs/observability.md. */
import { perSecond, quantile, series } from './names.js';

/** One alert for each node, and one for each of its storages where they have labels. */
const NODE = 'job, instance';
/** All but a caller who leaves. */
const FAILED = 'outcome=~"corrupt|unavailable|overloaded|timeout|error"';

/** What is not for the caller to mend, but for the fate of a save that is unknown, which has an alert of its own. */
const SAVE_FAILED = 'outcome=~"unavailable|overloaded|error"';

/**
 * @param {string} name
 * @param {'critical' | 'warning'} severity
 * @param {string} expr
 * @param {string} lasting for how long, before anybody is called
 * @param {{ summary: string, description: string }} annotations
 */
const alert = (name, severity, expr, lasting, annotations) => ({
  alert: `LoraStore${name}`,
  expr,
  for: lasting,
  labels: { severity },
  annotations,
});

/**
 * More than one call in a hundred, of one kind: where a node makes none of the other, there is no series to add.
 * @param {string} name
 * @param {string} operation
 */
const failing = (name, operation) => {
  const failures = series('lora_store.load.failures', `operation="${operation}",${FAILED}`);
  const all = series(`lora_store.${operation}.duration`, '', '_count');
  return alert(name, 'critical', `${perSecond(failures, '5m', NODE)} > 0.01 * ${perSecond(all, '5m', NODE)}`, '5m', {
    summary: `{{ $labels.instance }}: more than one ${operation} in a hundred fails`,
    description:
      'By outcome: unavailable and overloaded are about Postgres, corrupt is about bytes, timeout is a budgetMs that was up.',
  });
};

const calls = [
  failing('LoadsFail', 'load'),
  failing('LoadsOfManyFail', 'load_many'),
  alert(
    'Fallbacks',
    'warning',
    `${perSecond(series('lora_store.fallbacks'), '5m', NODE)} > 0.01 * ${perSecond(series('lora_store.load.duration', '', '_count'), '5m', NODE)}`,
    '5m',
    {
      summary: '{{ $labels.instance }}: more than one load in a hundred ends with the fallback',
      description:
        'Users who have no adapter count, too: where many have none, raise the share. Otherwise look at loads by outcome.',
    },
  ),
  alert(
    'LoadsSlow',
    'warning',
    `${quantile(0.99, 'lora_store.load.duration', '5m', { selector: 'tier!="none"', by: NODE })} > 0.1`,
    '10m',
    {
      summary: '{{ $labels.instance }}: one load in a hundred takes {{ $value | humanizeDuration }}',
      description: 'Look at the durations by tier, at the hit rate of memory, and at calls that wait for a connection.',
    },
  ),
  alert(
    'LoadsOfManySlow',
    'warning',
    `${quantile(0.99, 'lora_store.load_many.duration', '5m', { selector: 'outcome="answered"', by: NODE })} > 0.5`,
    '10m',
    {
      summary: '{{ $labels.instance }}: one call for many in a hundred takes {{ $value | humanizeDuration }}',
      description: 'It grows with the keys of a call. Look at adapters of calls for many by outcome, and at the pool.',
    },
  ),
  alert(
    'ServesStale',
    'warning',
    `${perSecond(series('lora_store.load.duration', 'outcome="stale"', '_count'), '5m', NODE)} > 0`,
    '1m',
    {
      summary: '{{ $labels.instance }}: adapters are served that could not be verified',
      description: 'Postgres cannot be asked. When staleIfErrorMs is over, these loads fail.',
    },
  ),
  alert(
    'ServesManyStale',
    'warning',
    `${perSecond(series('lora_store.load_many.adapters', 'outcome="stale"'), '5m', NODE)} > 0`,
    '1m',
    {
      summary: '{{ $labels.instance }}: calls for many are answered with adapters that could not be verified',
      description: 'Postgres cannot be asked. When staleIfErrorMs is over, these calls fail.',
    },
  ),
  // Saves are few: a window in which there are some.
  alert(
    'SavesFail',
    'critical',
    `${perSecond(series('lora_store.save.failures', SAVE_FAILED), '15m', NODE)} > 0.01 * ${perSecond(series('lora_store.save.duration', '', '_count'), '15m', NODE)}`,
    '5m',
    {
      summary: '{{ $labels.instance }}: more than one save in a hundred fails',
      description:
        'lora-store doctor, as the role of the node, says why: Postgres is a standby or read-only (25006), its disk is full (53100), a right is missing (42501), or it does not answer. Loads may go on all the while.',
    },
  ),
  alert(
    'SaveOutcomeUnknown',
    'critical',
    `sum by (${NODE}) (increase(${series('lora_store.save.failures', 'outcome="unknown"')}[15m])) > 0`,
    '0m',
    {
      summary: '{{ $labels.instance }}: a save was sent and never answered',
      description: 'It may be committed. Load the adapter and look at its version before it is saved again.',
    },
  ),
];

// Not `open`: with each trial a breaker is half-open for a moment, and what has to last would begin anew.
const tiers = [
  alert('Corrupt', 'critical', `sum by (${NODE}, tier) (increase(${series('lora_store.corrupt')}[15m])) > 0`, '0m', {
    summary: '{{ $labels.instance }}: bytes from {{ $labels.tier }} are no adapter',
    description:
      'In postgres: roll back to a good version. In redis: somebody else writes there. In memory: this program writes to shared weights.',
  }),
  alert(
    'PostgresLeftAlone',
    'critical',
    `${series('lora_store.breaker.state', 'tier="postgres",state="closed"')} == 0`,
    '30s',
    {
      summary: '{{ $labels.instance }}: Postgres does not answer',
      description: 'What is cached is served as stale for staleIfErrorMs; everything else fails.',
    },
  ),
  alert('ReplicaOutOfRotation', 'warning', `${series('lora_store.replicas', 'state!="up"')} > 0`, '5m', {
    summary: '{{ $labels.instance }}: {{ $value }} read replicas are {{ $labels.state }}',
    description:
      'Loads go to the primary instead. Down: it does not answer, or is no standby. Behind: its replay lags, it follows another primary, or the change feed is down.',
  }),
  // It stays in rotation, and each answer that does not count costs a second question.
  alert('ReplicaStandsStill', 'warning', `${series('lora_store.replica.lag')} > 60`, '5m', {
    summary: '{{ $labels.instance }}: a read replica shows what was {{ $value | humanizeDuration }} ago',
    description:
      'Its replay is paused, waits for a query of its own, or cannot keep up: pg_is_wal_replay_paused() and pg_stat_activity there.',
  }),
  alert(
    'RedisLeftAlone',
    'warning',
    `${series('lora_store.breaker.state', 'tier="redis",state="closed"')} == 0`,
    '5m',
    {
      summary: '{{ $labels.instance }}: Redis does not answer',
      description: 'Every load that memory cannot answer goes to Postgres: look at its pool.',
    },
  ),
  alert(
    'RedisRefuses',
    'warning',
    `${perSecond(series('lora_store.tier.errors', 'tier="redis"'), '5m', NODE)} > 0`,
    '10m',
    {
      summary: '{{ $labels.instance }}: calls of Redis go on failing',
      description:
        'With its breaker closed it answers and refuses: full (OOM), a replica (READONLY), not permitted (NOPERM). The degraded event has its words.',
    },
  ),
  alert('PoolExhausted', 'warning', `${series('lora_store.postgres.pool.waiting')} > 0`, '5m', {
    summary: '{{ $labels.instance }}: {{ $value }} calls wait for a connection to Postgres',
    description: "Raise the pool's max, look for slow statements, or send less.",
  }),
  alert(
    'MemoryTooSmall',
    'warning',
    `${perSecond(series('lora_store.memory.evictions'), '10m', NODE)} > 0 and ${perSecond(series('lora_store.cache.hits', 'tier="memory"'), '10m', NODE)} < 0.5 * (${perSecond(series('lora_store.cache.hits', 'tier="memory"'), '10m', NODE)} + ${perSecond(series('lora_store.cache.misses', 'tier="memory"'), '10m', NODE)})`,
    '30m',
    {
      summary: '{{ $labels.instance }}: memory answers less than half of the loads, and makes room all the time',
      description: 'Raise memory.maxBytes, or send a user always to the same node.',
    },
  ),
];

const coherence = [
  alert('ChangeFeedDown', 'warning', `${series('lora_store.change_feed.live')} == 0`, '2m', {
    summary: '{{ $labels.instance }}: the change feed is down',
    description:
      'Answers are right, and every load asks Postgres for the head. The degraded event of change-feed says why.',
  }),
  alert('BusDown', 'warning', `${series('lora_store.bus.connected')} == 0`, '10m', {
    summary: '{{ $labels.instance }}: hears nothing from other nodes through Redis',
    description: 'The change feed tells of saves all the same.',
  }),
  alert('BusSlow', 'warning', `${series('lora_store.bus.lag')} > 0.1`, '10m', {
    summary: '{{ $labels.instance }}: a message through Redis takes {{ $value | humanizeDuration }}',
    description: 'Redis, the way to it, or the event loop of this node is busy.',
  }),
];

export const rules = {
  groups: [
    { name: 'lora-store calls', rules: calls },
    { name: 'lora-store tiers', rules: tiers },
    { name: 'lora-store coherence', rules: coherence },
  ],
};
