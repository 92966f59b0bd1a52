/** What weights look like from afar: their size, spread and distribution. */
import type { Numbers } from './low-rank.js';

export interface Bin {
  /** Inclusive; `to` is not, but for the last bin. */
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

export interface WeightSummary {
  readonly rows: number;
  readonly cols: number;
  /** Frobenius norm. */
  readonly norm: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly deviation: number;
  readonly zeros: number;
  readonly histogram: readonly Bin[];
}

/** bins: of equal width, from the least weight to the greatest; one where all are the same. */
export function summarize({ rows, cols, data }: Numbers, bins = 15): WeightSummary {
  const count = rows * cols;
  let [min, max, sum, squares, zeros] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const weight = data[i] as number;
    if (weight < min) min = weight;
    if (weight > max) max = weight;
    if (weight === 0) zeros++;
    sum += weight;
    squares += weight * weight;
  }
  const mean = sum / count;
  let spread = 0;
  for (let i = 0; i < count; i++) spread += ((data[i] as number) - mean) ** 2;
  const norm = Math.sqrt(squares);
  const histogram = histogramOf(data, count, min, max, min === max ? 1 : bins);
  return { rows, cols, norm, min, max, mean, deviation: Math.sqrt(spread / count), zeros, histogram };
}

function histogramOf(data: Numbers['data'], count: number, min: number, max: number, bins: number): Bin[] {
  const width = (max - min) / bins;
  const counts = new Array<number>(bins).fill(0);
  for (let i = 0; i < count; i++) {
    const bin = width === 0 ? 0 : Math.min(bins - 1, Math.floor(((data[i] as number) - min) / width));
    counts[bin] = (counts[bin] as number) + 1;
  }
  const edge = (bin: number) => (bin === bins ? max : min + bin * width);
  return counts.map((inBin, bin) => ({ from: edge(bin), to: edge(bin + 1), count: inBin }));
}
