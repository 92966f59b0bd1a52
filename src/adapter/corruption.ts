/**
 * Why bytes are no record, or no entry of Redis. Both codecs answer with a code and an offset; the words are here, once, so that an error
 * reads the same whichever codec found it. The codes are those of `enum Status` in native/codec.h.
 */
import { AdapterCorruptError } from '../errors.js';

export const Corruption = {
  truncated: 1,
  userIdLength: 2,
  zeroDimension: 3,
  lengthTooLarge: 4,
  weightCount: 5,
  layerRanks: 6,
  rankField: 7,
  scalingFactor: 8,
  trainingIterations: 9,
  trailingBytes: 10,
  weight: 11,
  checksum: 12,
  entryTruncated: 13,
  entryFormat: 14,
  entryLength: 15,
} as const;

export type CorruptionCode = (typeof Corruption)[keyof typeof Corruption];

const REASONS: Record<number, string> = {
  [Corruption.truncated]: 'the bytes end before the record does',
  [Corruption.userIdLength]: 'the user id is not 16 bytes long',
  [Corruption.zeroDimension]: 'a dimension is zero',
  [Corruption.lengthTooLarge]: 'a length is larger than 2^53 - 1',
  [Corruption.weightCount]: 'a layer does not hold rows × columns weights',
  [Corruption.layerRanks]: 'the two layers differ in rank',
  [Corruption.rankField]: 'the rank field differs from the rank of the layers',
  [Corruption.scalingFactor]: 'scaling_factor is NaN or infinite',
  [Corruption.trainingIterations]: 'training_iterations is larger than 2^53 - 1',
  [Corruption.trailingBytes]: 'bytes follow the end of the record',
  [Corruption.weight]: 'a weight is NaN or infinite',
  [Corruption.checksum]: 'the checksum does not match',
  [Corruption.entryTruncated]: 'the Redis entry ends within its header',
  [Corruption.entryFormat]: 'the Redis entry is of a format that this version does not know',
  [Corruption.entryLength]: 'the Redis entry is not as long as its header says',
};

const VARINTS =
  'looks like a record written by bincode 2 (varint lengths); ' +
  "write it with bincode 1.3 or bincode 2's legacy() config";

/** The error for bytes that a codec refused with this code at this offset. */
export function corruptError(bytes: Uint8Array, code: number, offset: number): AdapterCorruptError {
  if (looksLikeVarints(bytes)) return new AdapterCorruptError(VARINTS, { offset: 0 });
  return new AdapterCorruptError(REASONS[code] ?? `unknown code ${code}`, { offset });
}

/**
 * bincode 2's standard() config writes the same fields with lengths of one, three, five or nine bytes. The first byte
 * alone proves nothing, as a damaged length field starts with 16 too: both layers behind it must add up.
 */
function looksLikeVarints(bytes: Uint8Array): boolean {
  const base = readVarintLayer(bytes, 17);
  const user = readVarintLayer(bytes, base.end);
  return bytes[0] === 16 && base.whole && user.whole && user.cols === base.rows;
}

function readVarintLayer(bytes: Uint8Array, at: number): { whole: boolean; rows: number; cols: number; end: number } {
  const rows = readVarint(bytes, at);
  const cols = readVarint(bytes, rows.end);
  const count = readVarint(bytes, cols.end);
  const end = count.end + 4 * count.value;
  const whole = count.value > 0 && count.value === rows.value * cols.value && end <= bytes.length;
  return { whole, rows: rows.value, cols: cols.value, end };
}

function readVarint(bytes: Uint8Array, at: number): { value: number; end: number } {
  const first = bytes[at] ?? Number.NaN;
  if (!(first > 250)) return { value: first, end: at + 1 };
  const width = first === 251 ? 2 : first === 252 ? 4 : first === 253 ? 8 : 0;
  let value = width === 0 ? Number.NaN : 0;
  for (let i = width; i > 0; i--) value = value * 256 + (bytes[at + i] ?? Number.NaN);
  return { value, end: at + 1 + width };
}
