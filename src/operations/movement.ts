/** How far the weights of an adapter moved from one version to another. */
import type { UserLoRAAdapter } from '../adapter/adapter.js';
import type { Matrix } from '../adapter/matrix.js';
import { distance, inner, type LowRank, norm } from './low-rank.js';

export interface Change {
  /** Frobenius norms. */
  readonly before: number;
  readonly after: number;
  /** Of the difference. */
  readonly moved: number;
  /** moved / before; null where there was nothing before. */
  readonly relative: number | null;
  /** Of the angle between the two; null where one of them is zero. */
  readonly cosine: number | null;
}

export interface WeightChange {
  readonly layer: 'A' | 'B';
  readonly row: number;
  readonly column: number;
  readonly before: number;
  readonly after: number;
}

export interface Movement {
  /** Null where its shape changed. */
  readonly A: Change | null;
  readonly B: Change | null;
  /** s·B·A, what the adapter adds to its model; null where it has other inputs or outputs now. */
  readonly product: Change | null;
  /** Single weights that changed most, first; none where the shape changed. */
  readonly largest: readonly WeightChange[];
}

/** largest: how many single weights to name. */
export function movement(before: UserLoRAAdapter, after: UserLoRAAdapter, largest: number): Movement {
  const sameDims = before.inputDim === after.inputDim && before.outputDim === after.outputDim;
  const [A, B] = [
    { layer: 'A' as const, from: before.baseLayerWeights, to: after.baseLayerWeights },
    { layer: 'B' as const, from: before.userLayerWeights, to: after.userLayerWeights },
  ];
  const comparable = [A, B].filter(({ from, to }) => from.rows === to.rows && from.cols === to.cols);
  const changeIn = (one: typeof A | typeof B) => (comparable.includes(one) ? changeOf(one.from, one.to) : null);
  return {
    A: changeIn(A),
    B: changeIn(B),
    product: sameDims ? productChange(lowRank(before), lowRank(after)) : null,
    largest: largestOf(comparable, largest),
  };
}

function lowRank(adapter: UserLoRAAdapter): LowRank {
  return { user: adapter.userLayerWeights, base: adapter.baseLayerWeights, scale: adapter.scalingFactor };
}

export function productNorm(adapter: UserLoRAAdapter): number {
  return norm(lowRank(adapter));
}

function productChange(before: LowRank, after: LowRank): Change {
  return change(norm(before), norm(after), distance(before, after), inner(before, after));
}

function changeOf(from: Matrix, to: Matrix): Change {
  let [before, after, moved, both] = [0, 0, 0, 0];
  for (let i = 0; i < from.data.length; i++) {
    const [x, y] = [from.data[i] as number, to.data[i] as number];
    before += x * x;
    after += y * y;
    moved += (y - x) ** 2;
    both += x * y;
  }
  return change(Math.sqrt(before), Math.sqrt(after), Math.sqrt(moved), both);
}

function change(before: number, after: number, moved: number, both: number): Change {
  const relative = before === 0 ? null : moved / before;
  // Rounding may leave it just above one.
  const cosine = before === 0 || after === 0 ? null : Math.max(-1, Math.min(1, both / before / after));
  return { before, after, moved, relative, cosine };
}

function largestOf(layers: readonly { layer: 'A' | 'B'; from: Matrix; to: Matrix }[], count: number): WeightChange[] {
  const found: (WeightChange & { by: number })[] = [];
  let least = 0;
  for (const { layer, from, to } of layers) {
    for (let i = 0; i < from.data.length; i++) {
      const [before, after] = [from.data[i] as number, to.data[i] as number];
      const by = Math.abs(after - before);
      if (by <= least) continue;
      found.push({ layer, row: Math.floor(i / from.cols), column: i % from.cols, before, after, by });
      if (found.length <= count) continue;
      found.sort((one, two) => two.by - one.by).pop();
      least = found.at(-1)?.by ?? 0;
    }
  }
  return found.sort((one, two) => two.by - one.by).map(({ by: _, ...weight }) => weight);
}
