/**
 * What numbers look like from outside: vectors, matrices and shapes. Types only. Nothing here offers a way to write to
 * weights, because weights may be shared with a cache and with every other caller that loaded the same adapter.
 */

/** A Float32Array seen through types that offer no way to write to it or to reach its buffer. */
export interface ReadonlyFloat32Array extends Iterable<number> {
  readonly [index: number]: number;
  readonly length: number;
  readonly byteLength: number;
  at(index: number): number | undefined;
  /** A copy. */
  slice(start?: number, end?: number): Float32Array;
  /** A view. */
  subarray(start?: number, end?: number): ReadonlyFloat32Array;
}

/** Float32Array at run time; what every numeric input takes. */
export type Vector = Float32Array | ReadonlyFloat32Array;

/** Row-major f32 matrix: element (r, c) is `data[r * cols + c]`. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: ReadonlyFloat32Array;
}

export interface AdapterShape {
  /** r of the low-rank pair. Default 8. */
  rank?: number;
  /** Columns of A. Default 512. */
  inputDim?: number;
  /** Rows of B. Default 768. */
  outputDim?: number;
  /** `scalingFactor = alpha / rank` (LoRA, arXiv 2106.09685, section 4.1). Default 16. */
  alpha?: number;
}
