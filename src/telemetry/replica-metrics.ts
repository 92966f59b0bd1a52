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
    description: 'How old what the read replica that is furthest behind shows is, of what it has received.',
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
    description: 'Loads from read replicas and looks at them that failed, and rows there that were bad.',
    read: ({ replicas }) => (replicas.length === 0 ? [] : one(sum(replicas.map(({ errors }) => errors)))),
  },
];

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
