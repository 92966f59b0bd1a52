/** Many adapters into two contiguous tensors, row by row, as a batched kernel wants them. */
import { AdapterCorruptError, InvalidAdapterError } from '../errors.js';
import type { Entry } from '../tiers/entry.js';

interface Target {
  readonly rows: number;
  /** [n × rank·inputDim] */
  readonly base: Float32Array;
  /** [n × outputDim·rank] */
  readonly user: Float32Array;
}

/** result[i]: whether row i was filled; it is zeros otherwise. Another shape than that of the rows is no fault of the bytes. */
export function fillTensors(
  entries: readonly (Entry | AdapterCorruptError)[],
  { rows, base, user }: Target,
): boolean[] {
  const baseRow = rowLength('base', base, rows);
  const userRow = rowLength('user', user, rows);
  return entries.map((entry, i) => {
    const record = entry instanceof AdapterCorruptError ? undefined : entry.record;
    const fits = record !== undefined && record.base.length === baseRow && record.user.length === userRow;
    if (fits) {
      base.set(record.base, i * baseRow);
      user.set(record.user, i * userRow);
    } else {
      base.fill(0, i * baseRow, (i + 1) * baseRow);
      user.fill(0, i * userRow, (i + 1) * userRow);
    }
    return fits;
  });
}

function rowLength(name: string, tensor: Float32Array, rows: number): number {
  if (!(tensor instanceof Float32Array)) throw new InvalidAdapterError(`${name} must be a Float32Array`);
  if (rows === 0) return 0;
  if (tensor.length > 0 && tensor.length % rows === 0) return tensor.length / rows;
  throw new InvalidAdapterError(`${name} holds ${tensor.length} numbers, which is not ${rows} rows of one length`);
}
