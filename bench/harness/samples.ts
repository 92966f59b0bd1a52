/**
 * Times of one side, as a distribution. Kept in picoseconds in a histogram of three significant digits, so that a Map's
 * twenty nanoseconds and a save's ten milliseconds are told apart equally well.
 */
import { build, type JsHistogram } from 'hdr-histogram-js';
import type { Distribution } from './results.js';

const PICOSECONDS = 1e6; // to a microsecond
const EDGES_PER_DECADE = 20;

export class Samples {
  readonly #histogram = build({
    bitBucketSize: 64,
    lowestDiscernibleValue: 1,
    highestTrackableValue: 1e15,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: false,
  }) as JsHistogram;
  #sum = 0;

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** Microseconds. */
  get mean(): number {
    return this.#sum / this.count;
  }

  add(microseconds: number): void {
    this.#histogram.recordValue(Math.min(1e15, Math.max(1, Math.round(microseconds * PICOSECONDS))));
    this.#sum += microseconds;
  }

  addAll(other: Samples): void {
    this.#histogram.add(other.#histogram);
    this.#sum += other.#sum;
  }

  /** Microseconds; percentile from 0 to 100. */
  at(percentile: number): number {
    return this.#histogram.getValueAtPercentile(percentile) / PICOSECONDS;
  }

  distribution(): Distribution {
    return {
      count: this.count,
      mean: this.mean,
      min: this.#histogram.minNonZeroValue / PICOSECONDS,
      p50: this.at(50),
      p90: this.at(90),
      p99: this.at(99),
      p999: this.at(99.9),
      max: this.#histogram.maxValue / PICOSECONDS,
      buckets: this.#buckets(),
    };
  }

  #buckets(): [edge: number, count: number][] {
    const counts = new Map<number, number>();
    const iterator = this.#histogram.recordedValuesIterator;
    iterator.reset();
    while (iterator.hasNext()) {
      const { valueIteratedTo, countAddedInThisIterationStep } = iterator.next();
      const step = Math.ceil(Math.log10(valueIteratedTo / PICOSECONDS) * EDGES_PER_DECADE);
      counts.set(step, (counts.get(step) ?? 0) + countAddedInThisIterationStep);
    }
    return [...counts].map(([step, count]) => [10 ** (step / EDGES_PER_DECADE), count]);
  }
}

/** Median and quartiles, interpolated. */
export function quartiles(values: readonly number[]): { low: number; median: number; high: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => {
    const place = share * (sorted.length - 1);
    const below = sorted[Math.floor(place)] as number;
    const above = sorted[Math.ceil(place)] as number;
    return below + (above - below) * (place - Math.floor(place));
  };
  return { low: at(0.25), median: at(0.5), high: at(0.75) };
}
