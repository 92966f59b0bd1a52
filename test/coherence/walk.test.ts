/**
 * Every order of events, over the code that the product runs: two nodes and one adapter, loads and writes with each of
 * their requests and answers a step of its own, messages late, lost, twice or out of order, and any two faults at any
 * moment. The models of Redis and Postgres that stand below are held to the real ones by contract.test.ts, and the steps
 * that walk/tidy.ts leaves out are taken in the last tests, where the bounds are small.
 *
 * LORA_STORE_WALK=long walks more of everything, for hours, and with as much memory as --max-old-space-size allows.
 */
import { describe, expect, test } from 'vitest';
import type { Plan } from './walk/moves.js';
import { OPERATIONS } from './walk/postgres-model.js';
import { NO_FEED, NO_REDIS, PRODUCT, REPLICA, STALE, STALE_REPLICA } from './walk/rules.js';
import { type Bounds, walk } from './walk/search.js';
import { WEAKNESSES } from './walk/weaken.js';

const long = process.env.LORA_STORE_WALK === 'long';
const PATIENCE_MS = long ? 24 * 3600_000 : 600_000;

type Walk = readonly [string, Plan, Bounds];

const SAVE = { rules: PRODUCT, operations: ['save'] } as const;
const ANY = { rules: PRODUCT, operations: OPERATIONS } as const;

const walks: Walk[] = [
  ['a write of any kind against a load', ANY, { loads: 1, writes: 1, faults: 0 }],
  ['two writes of any kind against a load', ANY, { loads: 1, writes: 2, faults: 0 }],
  ['a save against two loads', SAVE, { loads: 2, writes: 1, faults: 0 }],
  ['a save against two loads with a memory that evicts', { ...SAVE, evicts: true }, { loads: 2, writes: 1, faults: 0 }],
  ['a save, a load and any two faults', SAVE, { loads: 1, writes: 1, faults: 2 }],
  ['a bulk delete, a load and any fault', { ...SAVE, operations: ['bulk delete'] }, { loads: 1, writes: 1, faults: 1 }],
  [
    'without a feed: a write of any kind against a load',
    { ...ANY, rules: NO_FEED },
    { loads: 1, writes: 1, faults: 0 },
  ],
  ['without a feed: a save, a load and any fault', { ...SAVE, rules: NO_FEED }, { loads: 1, writes: 1, faults: 1 }],
  ['without Redis: a save, a load and any fault', { ...SAVE, rules: NO_REDIS }, { loads: 1, writes: 1, faults: 1 }],
  [
    'with a standby: a write of any kind against a load',
    { ...ANY, rules: REPLICA },
    { loads: 1, writes: 1, faults: 0 },
  ],
  [
    'with a standby, and Postgres away at any time: a save and a load',
    { ...SAVE, rules: STALE_REPLICA },
    { loads: 1, writes: 1, faults: 0 },
  ],
  [
    'with Postgres away at any time: a save, a load and any fault',
    { ...SAVE, rules: STALE },
    { loads: 1, writes: 1, faults: 1 },
  ],
];
const longWalks: Walk[] = [
  [
    'with a standby, and Postgres away at any time: a save, a load and any fault',
    { ...SAVE, rules: STALE_REPLICA },
    { loads: 1, writes: 1, faults: 1 },
  ],
  ['with a standby: a save, a load and any fault', { ...SAVE, rules: REPLICA }, { loads: 1, writes: 1, faults: 1 }],
  ...OPERATIONS.filter((operation) => operation !== 'save').map((operation): Walk => {
    return [
      `a ${operation}, a load and any two faults`,
      { ...ANY, operations: [operation] },
      { loads: 1, writes: 1, faults: 2 },
    ];
  }),
  ['a save, two loads and any fault', SAVE, { loads: 2, writes: 1, faults: 1 }],
  ['two saves, a load and any fault', SAVE, { loads: 1, writes: 2, faults: 1 }],
  ['a save, a load, a memory that evicts and any fault', { ...SAVE, evicts: true }, { loads: 1, writes: 1, faults: 1 }],
  ['a save, a load and any fault, nothing left out', { ...SAVE, reduced: false }, { loads: 1, writes: 1, faults: 1 }],
  [
    'without a feed: a save, a load and any two faults',
    { ...SAVE, rules: NO_FEED },
    { loads: 1, writes: 1, faults: 2 },
  ],
  [
    'with a standby: a save, a load and any two faults',
    { ...SAVE, rules: REPLICA },
    { loads: 1, writes: 1, faults: 2 },
  ],
  ['with a standby: two saves, a load and any fault', { ...SAVE, rules: REPLICA }, { loads: 1, writes: 2, faults: 1 }],
  [
    'without Redis: a save, a load and any two faults',
    { ...SAVE, rules: NO_REDIS },
    { loads: 1, writes: 1, faults: 2 },
  ],
];

describe('no promise is broken', () => {
  test.each(long ? [...walks, ...longWalks] : walks)('%s', { timeout: PATIENCE_MS }, (name, plan, bounds) => {
    const started = performance.now();
    const { failure, states, steps, depth } = walk(plan, bounds);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${name}: ${states} states, ${steps} steps, ${depth} deep, ${seconds} s`);
    expect(failure, failure).toBeUndefined();
    expect(states).toBeGreaterThan(1000);
  });
});

describe.each([
  ['the walk finds what is missing when', true],
  ['so does a walk that leaves nothing out when', false],
])('%s', (_, reduced) => {
  test.each(Object.entries(WEAKNESSES))('%s', { timeout: PATIENCE_MS }, (_, { bounds, ...plan }) => {
    const { failure, states } = walk({ operations: ['save'], reduced, ...plan }, bounds);
    if (reduced) console.log(`${states} states\n${failure}`);
    expect(failure).toContain('BROKEN: ');
  });
});
