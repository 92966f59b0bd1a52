/** Metrics of how this node hears of what others write, and of outages. */
import { type Metric, one, type Point } from './metric.js';

const PARTS = ['redis', 'postgres', 'replica', 'bus', 'change-feed'];
const OUTAGES = [0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 3600];

/** What is not known is no point. */
const seconds = (ms: number | undefined): Point[] => (ms === undefined ? [] : one(ms / 1000));

/** What is off is not down. */
const whereOn = (enabled: boolean, state: boolean): Point[] => (enabled ? one(Number(state)) : []);

export const coherenceMetrics: readonly Metric[] = [
  {
    name: 'lora_store.invalidations',
    instrument: 'counter',
    unit: '{adapter}',
    description: 'Adapters of which something newer was heard than memory could hold, by who told.',
    labels: { via: ['bus', 'change-feed', 'self'] },
    on: { invalidated: ({ via }) => one(1, { via }) },
  },
  {
    name: 'lora_store.change_feed.live',
    instrument: 'gauge',
    unit: '{state}',
    description: '1 while this node demonstrably hears of every commit; 0: every load asks Postgres for the head.',
    read: ({ changeFeed: { enabled, live } }) => whereOn(enabled, live),
  },
  {
    name: 'lora_store.change_feed.heartbeat_age',
    instrument: 'gauge',
    unit: 's',
    description:
      'Since the last heartbeat of the change feed that came back was sent: how far behind this node may be.',
    read: ({ changeFeed: { heartbeatAgeMs } }) => seconds(heartbeatAgeMs),
  },
  {
    name: 'lora_store.bus.connected',
    instrument: 'gauge',
    unit: '{state}',
    description: '1 while this node is subscribed to what other nodes publish in Redis.',
    read: ({ bus: { enabled, connected } }) => whereOn(enabled, connected),
  },
  {
    name: 'lora_store.bus.lag',
    instrument: 'gauge',
    unit: 's',
    description: 'How long a message of this node to itself took through Redis.',
    read: ({ bus: { lagMs } }) => seconds(lagMs),
  },
  {
    name: 'lora_store.bus.messages',
    instrument: 'counter',
    unit: '{message}',
    description: 'Messages between nodes, by direction.',
    labels: { direction: ['published', 'received'] },
    read: ({ bus }) => [
      ...one(bus.published, { direction: 'published' }),
      ...one(bus.received, { direction: 'received' }),
    ],
  },
  {
    name: 'lora_store.reconnects',
    instrument: 'counter',
    unit: '{connection}',
    description: 'Times that the bus or the change feed had to be connected again.',
    labels: { part: ['bus', 'change-feed'] },
    read: ({ bus, changeFeed }) => [
      ...one(bus.reconnects, { part: 'bus' }),
      ...one(changeFeed.reconnects, { part: 'change-feed' }),
    ],
  },
  {
    name: 'lora_store.degradations',
    instrument: 'counter',
    unit: '{outage}',
    description: 'Times that a part stopped answering, or began to refuse.',
    labels: { part: PARTS },
    on: { degraded: ({ tier }) => one(1, { part: tier }) },
  },
  {
    name: 'lora_store.outage.duration',
    instrument: 'histogram',
    unit: 's',
    description: 'How long a part was degraded, told when it is well again.',
    labels: { part: PARTS },
    buckets: OUTAGES,
    fromZero: true,
    on: { recovered: ({ tier, afterMs }) => one(afterMs / 1000, { part: tier }) },
  },
];
