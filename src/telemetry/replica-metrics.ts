/** Metrics of the read replicas. Without postgres.replicas none has a point. */
import { type Metric, one } from './metric.js';

const STATES = ['up', 'behind', 'down'];

export const replicaMetrics: readonly Metric[] = [
  {
    name: 'lora_store.replicas',
    instrument: 'gauge',
    unit: '{replica}',
    description:
      'Read replicas by state. up: in rotation; behind: what they show cannot count yet; down: no answer, or no standby.',
    labels: { state: STATES },
    read: ({ replicas }) =>
      replicas.length === 0
        ? []
        : STATES.flatMap((state) => one(replicas.filter((each) => each.state === state).length, { state })),
  },
  {
    name: 'lora_store.replica.lag',
    instrument: 'gauge',
    unit: 's',
    description: 'Replay lag of the read replica that is furthest behind, of those that answer.',
    read: ({ replicas }) => {
      const lags = replicas.flatMap(({ lagMs }) => (lagMs === undefined ? [] : [lagMs]));
      return lags.length === 0 ? [] : one(Math.max(...lags) / 1000);
    },
  },
  {
    name: 'lora_store.replica.bodies',
    instrument: 'counter',
    unit: '{adapter}',
    description: 'Bodies fetched from read replicas.',
    read: ({ replicas }) => (replicas.length === 0 ? [] : one(sum(replicas.map(({ loads }) => loads)))),
  },
  {
    name: 'lora_store.replica.refused',
    instrument: 'counter',
    unit: '{adapter}',
    description: 'Answers of read replicas that did not count, so that the primary was asked as well.',
    read: ({ replicas }) => (replicas.length === 0 ? [] : one(sum(replicas.map(({ refused }) => refused)))),
  },
  {
    name: 'lora_store.replica.errors',
    instrument: 'counter',
    unit: '{call}',
    description: 'Calls of read replicas that failed; the primary was asked instead.',
    read: ({ replicas }) => (replicas.length === 0 ? [] : one(sum(replicas.map(({ errors }) => errors)))),
  },
];

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
