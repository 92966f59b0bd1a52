/** Whether a large file can be a version at all, by its first bytes: before there is memory for what it says of itself. */
import { BASE_SHAPE_AT, BASE_WEIGHTS_AT, recordBytes } from '../adapter/record.js';

/** Smaller files are read whole: their checksum says more. */
export const SMALL_BYTES = 2 ** 20;
/** The two lines are shorter, and the record's first numbers follow. */
export const HEAD_BYTES = 8192;

const FIRST_LINE = /^lora-store 1 [0-9a-f]{8}\n/;

/** head: the first HEAD_BYTES of a file of `size` bytes. Undefined where nothing speaks against it. */
export function faultOfHead(head: Buffer, size: number): string | undefined {
  const first = FIRST_LINE.exec(head.toString('latin1', 0, 64));
  if (first === null) return 'the file does not begin with "lora-store 1"';
  const end = head.indexOf('\n', first[0].length);
  if (end < 0 || head.length < end + 1 + BASE_WEIGHTS_AT) return 'its second line does not end';
  const record = head.subarray(end + 1);
  const rank = Number(record.readBigUInt64LE(BASE_SHAPE_AT));
  const inputDim = Number(record.readBigUInt64LE(BASE_SHAPE_AT + 8));
  // What is left is the second layer: rows of `rank` weights.
  const rest = size - (end + 1) - recordBytes(rank, inputDim, 0);
  const fits = rank > 0 && inputDim > 0 && rest > 0 && rest % (4 * rank) === 0;
  return fits ? undefined : 'its size is not that of two layers of the shape it names';
}
