/**
 * Every order of events, over the code that the product runs: two nodes and one adapter, loads and writes with each of
 * their requests and answers a step of its own, messages late, lost, twice or out of order, and faults at any moment. The
 * models of Redis and Postgres that stand below are held to the real ones by contract.test.ts.
 *
 * What is bounded by depth, and the walks that are only worth their time now and then, go to their end with
 * LORA_STORE_WALK=long: for hours, and with as much memory as --max-old-space-size allows.
 */
import { describe, expect, test } from 'vitest';
import type { Plan } from './walk/moves.js';
import { PRODUCT } from './walk/rules.js';
import { type Bounds, walk } from './walk/search.js';
import { WEAKNESSES } from './walk/weaken.js';
import { OPERATIONS } from './walk/write-moves.js';

const long = process.env.LORA_STORE_WALK === 'long';
const PATIENCE_MS = long ? 24 * 3600_000 : 120_000;

/** What is bounded by depth is not walked to its end unless somebody has the time. */
const walks: [string, Omit<Plan, 'rules'>, Bounds][] = [
  ['all kinds of writes against a load', { operations: OPERATIONS }, { loads: 1, writes: 1, faults: 0 }],
  ['a save against two loads', { operations: ['save'] }, { loads: 2, writes: 1, faults: 0 }],
  ['a save, a load and any fault', { operations: ['save'], coarse: true }, { loads: 1, writes: 1, faults: 1 }],
  [
    'any two faults, their first steps',
    { operations: OPERATIONS, coarse: true },
    { loads: 2, writes: 2, faults: 2, depth: 4 },
  ],
  [
    'a save, a load and any two faults',
    { operations: ['save'], coarse: true },
    { loads: 1, writes: 1, faults: 2, depth: 6 },
  ],
];
const longWalks: typeof walks = [
  ['two saves against a load', { operations: ['save'] }, { loads: 1, writes: 2, faults: 0 }],
  ['a delete, a load and any fault', { operations: ['delete'], coarse: true }, { loads: 1, writes: 1, faults: 1 }],
  ['a save, a load and any fault, step by step', { operations: ['save'] }, { loads: 1, writes: 1, faults: 1 }],
];

describe('no promise is broken', () => {
  test.each(long ? [...walks, ...longWalks] : walks)(
    '%s',
    { timeout: PATIENCE_MS },
    (name, plan, { depth, ...bounds }) => {
      const limits = long || depth === undefined ? bounds : { ...bounds, depth };
      const started = performance.now();
      const { failure, states, steps, depth: reached } = walk({ rules: PRODUCT, ...plan }, limits);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      console.log(`${name}: ${states} states, ${steps} steps, ${reached} deep, ${seconds} s`);
      expect(failure, failure).toBeUndefined();
      expect(states).toBeGreaterThan(1000);
    },
  );
});

describe('the walk finds what is missing when', () => {
  test.each(Object.entries(WEAKNESSES))('%s', { timeout: PATIENCE_MS }, (_, { rules, bounds, coarse }) => {
    const { failure, states } = walk({ rules, operations: ['save'], coarse }, bounds);
    console.log(`${states} states\n${failure}`);
    expect(failure).toContain('BROKEN: ');
  });
});
