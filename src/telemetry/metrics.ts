/**
 * The one list of metrics: what each is called, counts and is labelled with, and where it comes from. opentelemetry.ts and
 * prometheus.ts walk it, and the rules and the dashboard of examples/monitoring/ are made of it. Every label takes few
 * values, all of which are named; none is a user's.
 */
import { loadMetrics, saveMetrics } from './call-metrics.js';
import { coherenceMetrics } from './coherence-metrics.js';
import type { Labels, Metric } from './metric.js';
import { replicaMetrics } from './replica-metrics.js';
import { tierMetrics } from './tier-metrics.js';

export const METRICS: readonly Metric[] = [
  ...loadMetrics,
  ...saveMetrics,
  ...tierMetrics,
  ...replicaMetrics,
  ...coherenceMetrics,
];

/** TypeError where a metric has a label of that name itself: one would be written over by the other. */
export function refuseTaken(labels: Labels): void {
  const taken = Object.keys(labels).find((name) => METRICS.some((metric) => Object.hasOwn(metric.labels ?? {}, name)));
  if (taken !== undefined)
    throw new TypeError(`label '${taken}' is one of the package's own metrics: give it another name`);
}
