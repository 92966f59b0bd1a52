/** Metrics of what callers ask for: how long it took, and how it ended. */
import { LOAD_FAILURES, LOAD_OUTCOMES, SAVE_FAILURES } from '../storage/outcomes.js';
import { DURATIONS, failure, type Metric, one, TIERS } from './metric.js';

/** Around the defaults of maxStalenessMs, 1 s, and staleIfErrorMs, 60 s. */
const AGES = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120];

export const loadMetrics: readonly Metric[] = [
  {
    name: 'lora_store.load.duration',
    instrument: 'histogram',
    unit: 's',
    description: 'How long a load of one adapter took, by where its bytes came from and how it ended.',
    labels: { tier: [...TIERS, 'none'], outcome: LOAD_OUTCOMES },
    buckets: DURATIONS,
    on: {
      load: ({ durationMs, tier = 'none', outcome }) => one(durationMs / 1000, { tier, outcome }),
    },
  },
  {
    name: 'lora_store.load.verified_age',
    instrument: 'histogram',
    unit: 's',
    description: 'How long ago what a load returned was last known to be the latest.',
    labels: { tier: TIERS },
    buckets: AGES,
    on: {
      load: ({ verifiedAgeMs, tier }) =>
        verifiedAgeMs === undefined || tier === undefined ? [] : one(verifiedAgeMs / 1000, { tier }),
    },
  },
  {
    name: 'lora_store.load.failures',
    instrument: 'counter',
    unit: '{load}',
    description: 'Loads that gave their caller nothing he could use, by why. A call for many that failed counts once.',
    labels: { operation: ['load', 'load_many'], outcome: LOAD_FAILURES },
    on: {
      load: ({ outcome }) => failure('load', outcome, LOAD_FAILURES),
      'load-many': ({ outcome }) => failure('load_many', outcome, LOAD_FAILURES),
    },
  },
  {
    name: 'lora_store.load.coalesced',
    instrument: 'counter',
    unit: '{load}',
    description: 'Loads that joined a load of the same adapter that was under way.',
    read: ({ coalesced }) => one(coalesced),
  },
  {
    name: 'lora_store.load_many.duration',
    instrument: 'histogram',
    unit: 's',
    description: 'How long a call for many adapters took, and how it ended.',
    labels: { outcome: ['answered', ...LOAD_FAILURES] },
    buckets: DURATIONS,
    on: { 'load-many': ({ durationMs, outcome }) => one(durationMs / 1000, { outcome }) },
  },
  {
    name: 'lora_store.load_many.adapters',
    instrument: 'counter',
    unit: '{adapter}',
    description: 'Adapters that calls for many asked for and were answered about, by how.',
    labels: { outcome: ['hit', 'verified', 'stale', 'absent', 'corrupt'] },
    on: {
      'load-many': ({ outcomes }) =>
        Object.entries(outcomes).map(([outcome, value]) => ({ value, labels: { outcome } })),
    },
  },
  {
    name: 'lora_store.fallbacks',
    instrument: 'counter',
    unit: '{load}',
    description: 'Loads for which loadAdapterOr used its fallback.',
    on: { fallback: () => one(1) },
  },
];

export const saveMetrics: readonly Metric[] = [
  {
    name: 'lora_store.save.duration',
    instrument: 'histogram',
    unit: 's',
    description: 'How long a save or a rollback took, and how it ended.',
    labels: { operation: ['save', 'rollback'], outcome: ['saved', ...SAVE_FAILURES] },
    buckets: DURATIONS,
    on: { save: ({ durationMs, operation, outcome }) => one(durationMs / 1000, { operation, outcome }) },
  },
  {
    name: 'lora_store.save.failures',
    instrument: 'counter',
    unit: '{save}',
    description: 'Saves and rollbacks that were not committed, or of which nobody knows (unknown), by why.',
    labels: { operation: ['save', 'rollback'], outcome: SAVE_FAILURES },
    on: { save: ({ operation, outcome }) => failure(operation, outcome, SAVE_FAILURES) },
  },
];
