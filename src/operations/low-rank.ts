/**
 * Norms of what an adapter adds to its model, s·B·A, and of how that moved. A product of outputDim × inputDim numbers is
 * never made: ⟨B·A, D·C⟩ is the sum of (Bᵀ·D) ∘ (A·Cᵀ), two matrices of rank × rank.
 */

/** Row-major. */
export interface Numbers {
  readonly rows: number;
  readonly cols: number;
  readonly data: { readonly [index: number]: number };
}

/** s·B·A. */
export interface LowRank {
  /** B, [outputDim × rank]. */
  readonly user: Numbers;
  /** A, [rank × inputDim]. */
  readonly base: Numbers;
  readonly scale: number;
}

export function inner(one: LowRank, two: LowRank): number {
  let sum = 0;
  for (let i = 0; i < one.base.rows; i++) {
    for (let j = 0; j < two.base.rows; j++) {
      sum += columnDot(one.user, i, two.user, j) * rowDot(one.base, i, two.base, j);
    }
  }
  return one.scale * two.scale * sum;
}

export function norm(product: LowRank): number {
  return root(inner(product, product));
}

/** Norm of after − before; both have the same inputs and outputs. */
export function distance(before: LowRank, after: LowRank): number {
  if (before.base.rows !== after.base.rows) {
    return root(inner(before, before) + inner(after, after) - 2 * inner(before, after));
  }
  // As (B' − B)·A' + B·(A' − A): a difference of whole products would lose a step of training among their last digits.
  const user = difference(before.user, before.scale, after.user, after.scale);
  const base = difference(before.base, 1, after.base, 1);
  const [byUser, byBase] = [
    { user, base: after.base, scale: 1 },
    { user: before.user, base, scale: before.scale },
  ];
  return root(inner(byUser, byUser) + 2 * inner(byUser, byBase) + inner(byBase, byBase));
}

function difference(before: Numbers, beforeScale: number, after: Numbers, afterScale: number): Numbers {
  const { rows, cols } = after;
  const data = new Float64Array(rows * cols);
  for (let i = 0; i < data.length; i++) {
    data[i] = afterScale * (after.data[i] as number) - beforeScale * (before.data[i] as number);
  }
  return { rows, cols, data };
}

function rowDot(one: Numbers, i: number, two: Numbers, j: number): number {
  let sum = 0;
  for (let k = 0; k < one.cols; k++)
    sum += (one.data[i * one.cols + k] as number) * (two.data[j * two.cols + k] as number);
  return sum;
}

function columnDot(one: Numbers, i: number, two: Numbers, j: number): number {
  let sum = 0;
  for (let k = 0; k < one.rows; k++)
    sum += (one.data[k * one.cols + i] as number) * (two.data[k * two.cols + j] as number);
  return sum;
}

/** Rounding may leave a square just below zero. */
function root(square: number): number {
  return Math.sqrt(Math.max(0, square));
}
