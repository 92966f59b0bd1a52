/**
 * What a run of the benches writes, bench/results/<date>.json: all that the report, README's tables and --check are made
 * of. Times are microseconds unless a name says otherwise.
 */

export interface Results {
  readonly format: 1;
  /** ISO 8601, when the run began. */
  readonly date: string;
  /** Shorter runs, for a look: their figures go into no table. */
  readonly quick: boolean;
  readonly seconds: number;
  readonly environment: Environment;
  readonly cases: readonly CaseResult[];
  readonly targets: readonly TargetResult[];
}

export interface Environment {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  /** With the settings of its environment that matter. */
  readonly node: string;
  /** 'native (avx512)', say. */
  readonly codec: string;
  /** Version and settings that matter, by server: { postgres: '15.18, fsync off', redis: '7.0.15, save ""' }. */
  readonly servers: Readonly<Record<string, string>>;
  /** Versions of what is compared with, the toolchains included. */
  readonly versions: Readonly<Record<string, string>>;
  /** Of the working tree, with '+' where it has changes. */
  readonly commit: string;
}

/** One file of bench/cases. */
export interface CaseResult {
  /** Its file name, without the suffix. */
  readonly name: string;
  /** The one question it answers. */
  readonly question: string;
  readonly seconds: number;
  readonly sides: readonly SideResult[];
  readonly ratios: readonly Ratio[];
  readonly curves: readonly Curve[];
  /** What is unfair in a comparison, or was left out and why. */
  readonly notes: readonly string[];
}

/** One way to do the work. */
export interface SideResult {
  /** Unique within its group: 'loadAdapter', 'bare getBuffer'. */
  readonly name: string;
  /** Sides of one group did the same work, in turns. */
  readonly group: string;
  readonly latency: Distribution;
  readonly perSecond: number;
  /** Where calls were too short to be timed one by one: of how many each sample in `latency` is the mean. */
  readonly callsPerSample?: number;
  /** What a call allocates on JavaScript's heap. */
  readonly heapBytes?: number;
}

export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  /** Upper edge and count, ascending, at least ten to a power of ten; empty ones left out. */
  readonly buckets: readonly (readonly [edge: number, count: number])[];
}

/** One side over another, taken once a round from what both did in that round. */
export interface Ratio {
  readonly of: string;
  readonly to: string;
  readonly statistic: 'mean' | 'p50' | 'p99' | 'perSecond';
  readonly rounds: number;
  readonly median: number;
  /** Quartiles. */
  readonly low: number;
  readonly high: number;
}

/** Something against something: growth, latency against throughput, staleness. */
export interface Curve {
  readonly name: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
}

export interface Axis {
  /** With its unit: 'rows', 'loads per second', 'p99 in µs'. */
  readonly label: string;
  readonly scale: 'linear' | 'log';
}

export interface TargetResult {
  /** 'decode checked / Rust bincode unchecked'. */
  readonly what: string;
  readonly relation: '<=' | '>=' | '<';
  readonly bound: number;
  /** null: not measured in this run, and `why` says why. */
  readonly value: number | null;
  /** Quartiles, where the value is a median. */
  readonly low?: number;
  readonly high?: number;
  readonly met: boolean | null;
  /** Why it is short, with the evidence; or why it was not measured. */
  readonly why?: string;
}
