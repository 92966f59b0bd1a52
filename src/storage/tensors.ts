/** Many adapters into two contiguous tensors, row by row, as a batched kernel wants them. */
import type { AdapterRecord } from '../adapter/record.js';
import { AdapterCorruptError, InvalidAdapterError } from '../errors.js';
import type { Entry } from '../tiers/entry.js';
import type { Events } from './events.js';
import { DEFAULT_NAME } from './input.js';

interface Target {
  readonly keys: readonly { userId: string; adapterName?: string }[];
  /** [n × rank·inputDim] */
  readonly base: Float32Array;
  /** [n × outputDim·rank] */
  readonly user: Float32Array;
}

/** result[i]: whether row i was filled; it is zeros otherwise. */
export function fillTensors(
  entries: readonly (Entry | AdapterCorruptError)[],
  target: Target,
  events: Events,
): boolean[] {
  const { keys, base, user } = target;
  const baseRow = rowLength('base', base, keys.length);
  const userRow = rowLength('user', user, keys.length);
  return entries.map((entry, i) => {
    const record = entry instanceof AdapterCorruptError ? undefined : entry.record;
    const fits = record !== undefined && record.base.length === baseRow && record.user.length === userRow;
    if (fits) {
      base.set(record.base, i * baseRow);
      user.set(record.user, i * userRow);
    } else {
      base.fill(0, i * baseRow, (i + 1) * baseRow);
      user.fill(0, i * userRow, (i + 1) * userRow);
      if (record !== undefined) report(keys[i] as Target['keys'][number], record, events);
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

function report({ userId, adapterName = DEFAULT_NAME }: Target['keys'][number], record: AdapterRecord, events: Events) {
  const { rank, inputDim, outputDim } = record;
  const reason = `its shape ${rank}×${inputDim}, ${outputDim}×${rank} is not that of the tensors' rows`;
  events.emit('corrupt', { userId, adapterName, tier: 'memory', reason });
}
