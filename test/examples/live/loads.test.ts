/** The window of loads: what leaves it, how many it holds at most, and that it counts however many there were. */
import { expect, test } from 'vitest';

interface Load {
  node: string;
  tier: string;
  milliseconds: number;
  stale: boolean;
  verifiedAgeMs: number;
  at: number;
}
interface Loads {
  readonly held: number;
  add(load: Load): void;
  snapshot(now: number): { total: number; tiers: { tier: string; loads: number; counts: number[] }[] };
  of(node: string): { loads: number; stale: number; verifiedAgeMs: number | null };
}

const path = new URL('../../../examples/live/loads.js', import.meta.url).href;
const { Loads, MOST } = (await import(path)) as { Loads: new (windowMs: number) => Loads; MOST: number };

const WINDOW_MS = 30_000;

function load(at: number, more: Partial<Load> = {}): Load {
  return { node: 'A', tier: 'memory', milliseconds: 0.01, stale: false, verifiedAgeMs: 1, at, ...more };
}

test('two hundred thousand loads within the window: the newest count, and none breaks the frame', () => {
  const loads = new Loads(WINDOW_MS);
  for (let i = 0; i < 200_000; i++) {
    loads.add(load(i / 10, { node: i % 2 === 0 ? 'A' : 'B', verifiedAgeMs: i }));
    if (i % 1000 === 0) expect(loads.held).toBeLessThanOrEqual(2 * MOST);
  }
  const { total, tiers } = loads.snapshot(20_000);
  expect(total).toBe(MOST);
  expect(tiers.map(({ tier, loads }) => [tier, loads])).toEqual([
    ['memory', MOST],
    ['redis', 0],
    ['postgres', 0],
  ]);
  expect(loads.of('A')).toMatchObject({ loads: MOST / 2, verifiedAgeMs: 199_998 });
  expect(loads.of('B')).toMatchObject({ loads: MOST / 2, verifiedAgeMs: 199_999 });
});

test('nobody looks for a day: what left the window is not held', () => {
  const loads = new Loads(WINDOW_MS);
  // Ten a second.
  for (let at = 0; at < 24 * 3600 * 1000; at += 100) {
    loads.add(load(at));
    if (at % 100_000 === 0) expect(loads.held).toBeLessThanOrEqual(2 * (WINDOW_MS / 100));
  }
});

test('a frame shows the loads of the window alone, to the millisecond, and none of a node that has none', () => {
  const loads = new Loads(WINDOW_MS);
  for (const at of [0, 1, 2, 15_000]) loads.add(load(at, { stale: at === 1 }));
  expect(loads.snapshot(30_000).total).toBe(3);
  expect(loads.of('A')).toMatchObject({ loads: 3, stale: 1 });
  expect(loads.snapshot(30_001).total).toBe(2);
  expect(loads.of('A')).toMatchObject({ loads: 2, stale: 0 });
  expect(loads.of('B')).toMatchObject({ loads: 0, verifiedAgeMs: null });
  expect(loads.snapshot(60_000).total).toBe(0);
});
