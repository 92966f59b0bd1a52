/**
 * Sides of one kind of work against each other: in turns, a slice of time each, so that what disturbs the machine for a
 * while disturbs all of them; each behind every other one equally often, since it begins in the memory which that one
 * left (a decode behind JSON took a fifth more than one behind a decode). A ratio is taken once a round.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { heapBytesOf } from './heap.js';
import type { Ratio, SideResult } from './results.js';
import { quartiles, Samples } from './samples.js';
import { type Runner, runnerOf, type Side, type Slice } from './side.js';

export interface Contest {
  /** What all sides do. */
  readonly group: string;
  readonly sides: readonly Side[];
  /** For all of it, the warm-up included. */
  readonly seconds: number;
  /** Promises: call by call (the default), or in batches where a call is as short as the clock's own cost. */
  readonly awaited?: 'each' | 'batches';
  /** Calls under way at once. Default 1. */
  readonly concurrency?: number;
  /** Default 60: some collections of garbage lie in each. Longer where a ratio of p99 needs hundreds of calls a slice. */
  readonly sliceMs?: number;
  /** Also how much a call allocates, of sides in this process. */
  readonly heap?: boolean;
}

const MIN_ROUNDS = 5;
const MIN_SLICE_MS = 15;
const WARM_SLICE_MS = 25;
/** Two slices in a row this near to each other: the compiler is done. */
const SETTLED = 0.03;

export interface Comparison {
  readonly sides: readonly SideResult[];
  /**
   * Of one side to another, by their names: the median over rounds, and its quartiles. Of p50 unless told otherwise: where
   * others use the machine too, a mean is theirs as much as the side's.
   */
  ratio(of: string, to: string, statistic?: Ratio['statistic']): Ratio;
}

/** progress: what is going on, in words. */
export async function contend(contest: Contest, progress: (doing: string) => void): Promise<Comparison> {
  const { group, sides, seconds, awaited = 'each', concurrency = 1, sliceMs = 60, heap = false } = contest;
  const began = performance.now();
  progress(`${group}: warming up`);
  const runners: Runner[] = [];
  for (const side of sides) runners.push(await runnerOf(side, awaited, concurrency));
  const warmMs = Math.max(8 * WARM_SLICE_MS, (0.25 * seconds * 1000) / sides.length);
  for (const run of runners) await warmUp(run, warmMs);

  const { rounds, milliseconds } = split(seconds * 1000 - (performance.now() - began), sides.length, sliceMs);
  const slices: Slice[][] = sides.map(() => []);
  for (let round = 0; round < rounds; round++) {
    progress(`${group}: round ${round + 1} of ${rounds}`);
    for (const index of orderOf(round, sides.length)) {
      globalThis.gc?.();
      slices[index]?.push(await inTurn(runners[index] as Runner, milliseconds));
    }
  }
  const results: SideResult[] = [];
  for (const [index, side] of sides.entries()) {
    const heapBytes = heap && 'run' in side ? await heapBytesOf(side) : undefined;
    const result = sideResult(side.name, group, slices[index] as Slice[]);
    results.push(heapBytes === undefined ? result : { ...result, heapBytes });
  }
  const named = new Map(sides.map(({ name }, index) => [name, slices[index] as Slice[]]));
  return {
    sides: results,
    ratio: (of, to, statistic = 'p50') => ratioOf(named, of, to, statistic),
  };
}

async function warmUp(run: Runner, milliseconds: number): Promise<void> {
  const end = performance.now() + milliseconds;
  let last = Number.POSITIVE_INFINITY;
  for (let settled = 0; settled < 3 && performance.now() < end; ) {
    const { samples } = await inTurn(run, WARM_SLICE_MS);
    const p50 = samples.at(50);
    settled = Math.abs(p50 - last) <= SETTLED * last ? settled + 1 : 0;
    last = p50;
  }
}

/** Work that never waits lets nothing else in, and a storage whose heartbeats are not heard stops trusting its memory. */
async function inTurn(run: Runner, milliseconds: number): Promise<Slice> {
  await turn();
  return await run(milliseconds);
}

/** As many rounds as there is time for; shorter slices where that is too few. */
function split(left: number, sides: number, sliceMs: number): { rounds: number; milliseconds: number } {
  const pause = gcMs();
  const rounds = Math.floor(left / (sides * (sliceMs + pause)));
  if (rounds >= MIN_ROUNDS) return { rounds, milliseconds: sliceMs };
  return { rounds: MIN_ROUNDS, milliseconds: Math.max(MIN_SLICE_MS, left / (MIN_ROUNDS * sides) - pause) };
}

/**
 * Which side has which place in a round: a Williams design. 0 1 n-1 2 n-2 and so on, moved on by one each round, puts each
 * behind each other once in n rounds where n is even; where it is odd, in twice as many, every second n of them backwards.
 */
function orderOf(round: number, n: number): number[] {
  const order = Array.from({ length: n }, (_, place) => {
    const zigzag = place % 2 === 1 ? (place + 1) / 2 : n - place / 2;
    return (zigzag + round) % n;
  });
  return n % 2 === 1 && Math.floor(round / n) % 2 === 1 ? order.reverse() : order;
}

/** What a collection takes here. */
function gcMs(): number {
  const began = performance.now();
  globalThis.gc?.();
  return performance.now() - began;
}

function sideResult(name: string, group: string, slices: readonly Slice[]): SideResult {
  const all = new Samples();
  for (const { samples } of slices) all.addAll(samples);
  const callsPerSample = Math.round(quartiles(slices.map((slice) => slice.callsPerSample)).median);
  const perSecond = quartiles(slices.map((slice) => slice.perSecond)).median;
  const result = { name, group, latency: all.distribution(), perSecond };
  return callsPerSample > 1 ? { ...result, callsPerSample } : result;
}

function ratioOf(named: Map<string, Slice[]>, of: string, to: string, statistic: Ratio['statistic']): Ratio {
  const [upper, lower] = [of, to].map((name) => {
    const slices = named.get(name);
    if (slices === undefined) throw new Error(`no side is called '${name}': ${[...named.keys()].join(', ')}`);
    return slices.map((slice) => statisticOf(slice, statistic));
  }) as [number[], number[]];
  const ratios = upper.map((value, round) => value / (lower[round] as number));
  return { of, to, statistic, rounds: ratios.length, ...quartiles(ratios) };
}

function statisticOf({ samples, perSecond }: Slice, statistic: Ratio['statistic']): number {
  if (statistic === 'mean') return samples.mean;
  if (statistic === 'perSecond') return perSecond;
  return samples.at(statistic === 'p50' ? 50 : 99);
}
