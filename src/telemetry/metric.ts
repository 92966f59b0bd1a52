/** What a metric is, and the words that several of them are made of. Times are in seconds. */
import type { ChannelMessages } from '../storage/channels.js';
import type { CacheStats } from '../storage/status.js';

export type Labels = Readonly<Record<string, string>>;

export interface Point {
  readonly value: number;
  readonly labels?: Labels;
}

interface Described {
  readonly name: string;
  /** Of UCUM, as OpenTelemetry has it; what is counted stands in braces. */
  readonly unit: string;
  readonly description: string;
  /** Each label, and all the values it takes. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
}

/** Read from storage.cacheStats() when somebody looks. A counter counts since the storage was opened. */
export interface Sampled extends Described {
  readonly instrument: 'counter' | 'gauge';
  readonly read: (stats: CacheStats) => readonly Point[];
}

/** Told by messages on channels. A counter begins when the storage is first observed, with a zero for each label. */
export interface Told extends Described {
  readonly instrument: 'counter' | 'histogram';
  readonly buckets?: readonly number[];
  /** Of a histogram that stands still for long: a zero for each label, as a counter has, where the backend can. */
  readonly fromZero?: true;
  readonly on: { readonly [C in keyof ChannelMessages]?: (message: ChannelMessages[C]) => readonly Point[] };
}

export type Metric = Sampled | Told;

export const TIERS = ['memory', 'redis', 'postgres'];

/** 1 µs to 10 s: a hit in memory takes less than the first, a timeout of Postgres three seconds. */
export const DURATIONS = [
  1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
];

/** A metric that has one point at a time. */
export function one(value: number, labels: Labels = {}): Point[] {
  return [{ value, labels }];
}

/** A call that failed is counted once, by why. */
export function failure(operation: string, outcome: string, failures: readonly string[]): Point[] {
  return failures.includes(outcome) ? one(1, { operation, outcome }) : [];
}
