/**
 * The codec in TypeScript: the readable reference of native/codec.cc, and what runs where no addon is built. The same
 * checks in the same order, hence the same code and offset for the same bytes; a differential test holds the two together.
 * Layout and the order of checks: docs/format.md.
 */
import { Corruption, type CorruptionCode, corruptError } from './corruption.js';
import { crc32cPortable } from './crc32c.js';
import { readEntryHeader } from './entry-header.js';
import { floatOf, halfOf } from './half.js';
import {
  type AdapterRecord,
  BASE_SHAPE_AT,
  BASE_WEIGHTS_AT,
  type Checksum,
  type Codec,
  LAYER_HEADER_BYTES,
  type RecordFacts,
  recordBytes,
  recordOver,
  roundedRecordOver,
  TAIL_BYTES,
  USER_ID_AT,
  type Weights,
} from './record.js';
import { userIdToBytes } from './user-id.js';

/** The exponent of a half that is no finite number. */
const INFINITE = 0x7c00;

export const portable: Codec = {
  decode(bytes, checksum) {
    const facts = inspect(bytes, 4);
    const copy = Buffer.allocUnsafeSlow(bytes.length);
    copy.set(bytes);
    return verified(recordOver(copy, facts), checksum);
  },

  adopt: (bytes, checksum) => verified(recordOver(bytes, inspect(bytes, 4)), checksum),

  decodeHalf(bytes, checksum) {
    const facts = inspect(bytes, 2);
    expectChecksum(bytes, checksum);
    const { rank, inputDim, outputDim } = facts;
    const target = Buffer.allocUnsafeSlow(recordBytes(rank, inputDim, outputDim));
    const userHeaderAt = BASE_WEIGHTS_AT + 2 * rank * inputDim;
    target.set(bytes.subarray(0, BASE_WEIGHTS_AT));
    target.set(bytes.subarray(userHeaderAt, userHeaderAt + LAYER_HEADER_BYTES), 2 * userHeaderAt - BASE_WEIGHTS_AT);
    target.set(bytes.subarray(bytes.length - TAIL_BYTES), target.length - TAIL_BYTES);
    const record = roundedRecordOver(target, facts);
    expandWeights(bytes, BASE_WEIGHTS_AT, record.base);
    expandWeights(bytes, userHeaderAt + LAYER_HEADER_BYTES, record.user);
    return record;
  },

  halve({ bytes, base, user }) {
    const target = Buffer.allocUnsafeSlow(bytes.length - 2 * (base.length + user.length));
    const userHeaderAt = BASE_WEIGHTS_AT + 2 * base.length;
    bytes.copy(target, 0, 0, BASE_WEIGHTS_AT);
    bytes.copy(target, userHeaderAt, BASE_WEIGHTS_AT + 4 * base.length);
    bytes.copy(target, target.length - TAIL_BYTES, bytes.length - TAIL_BYTES);
    const fits =
      halveWeights(base, target, BASE_WEIGHTS_AT) && halveWeights(user, target, userHeaderAt + LAYER_HEADER_BYTES);
    return fits ? target : undefined;
  },

  encodeInto(target, weights, trainingIterations) {
    const { rank, inputDim, outputDim, base, user } = weights;
    const view = new DataView(target.buffer, target.byteOffset, target.length);
    const userShapeAt = BASE_WEIGHTS_AT + 4 * base.length;
    const userWeightsAt = userShapeAt + LAYER_HEADER_BYTES;
    const tailAt = userWeightsAt + 4 * user.length;
    writeU64(view, 0, 16);
    userIdToBytes(weights.userId, target, USER_ID_AT);
    writeU64(view, BASE_SHAPE_AT, rank);
    writeU64(view, BASE_SHAPE_AT + 8, inputDim);
    writeU64(view, BASE_SHAPE_AT + 16, base.length);
    target.set(bytesOf(base), BASE_WEIGHTS_AT);
    writeU64(view, userShapeAt, outputDim);
    writeU64(view, userShapeAt + 8, rank);
    writeU64(view, userShapeAt + 16, user.length);
    target.set(bytesOf(user), userWeightsAt);
    writeU64(view, tailAt, rank);
    view.setFloat32(tailAt + 8, weights.scalingFactor, true);
    writeU64(view, tailAt + 12, trainingIterations);
    return firstBadWeight(weights);
  },

  readEntryHeader,

  crc32c: crc32cPortable,
};

function verified(record: AdapterRecord, checksum: Checksum | undefined): AdapterRecord {
  const bad = firstBadWeight(record);
  expectChecksum(record.bytes, checksum);
  if (bad >= 0) throw corruptError(record.bytes, Corruption.weight, bad);
  return record;
}

function expandWeights(half: Uint8Array, at: number, target: Float32Array): void {
  const view = new DataView(half.buffer, half.byteOffset, half.length);
  for (let i = 0; i < target.length; i++) {
    const bits = view.getUint16(at + 2 * i, true);
    if ((bits & INFINITE) === INFINITE) throw corruptError(half, Corruption.weight, at + 2 * i);
    target[i] = floatOf(bits);
  }
}

/** False: one is too large for a half. */
function halveWeights(weights: Float32Array, target: Buffer, at: number): boolean {
  return weights.every((weight, i) => {
    const half = halfOf(weight);
    target.writeUInt16LE(half, at + 2 * i);
    return (half & INFINITE) !== INFINITE;
  });
}

// A wrong checksum says more than the NaN that an accident made.
function expectChecksum(bytes: Uint8Array, checksum: Checksum | undefined): void {
  if (checksum === undefined || crc32cPortable(bytes, checksum.seed) === checksum.expected) return;
  throw corruptError(bytes, Corruption.checksum, 0);
}

/** Everything but the weights themselves, of so many bytes each, before anything is allocated. */
function inspect(bytes: Uint8Array, weightBytes: 2 | 4): RecordFacts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;

  const refuse = (code: CorruptionCode, offset = at): never => {
    throw corruptError(bytes, code, offset);
  };
  const take = (size: number): number => {
    if (size > bytes.length - at) refuse(Corruption.truncated);
    at += size;
    return at - size;
  };
  const length = (): number => {
    const value = readU64(view, take(8));
    return value <= Number.MAX_SAFE_INTEGER ? value : refuse(Corruption.lengthTooLarge, at - 8);
  };
  const dimension = (): number => length() || refuse(Corruption.zeroDimension, at - 8);
  const weights = (rows: number, cols: number): void => {
    const count = length();
    // Division, because rows × columns of hostile lengths would round.
    if (count % rows !== 0 || count / rows !== cols) refuse(Corruption.weightCount, at - 8);
    if (count > (bytes.length - at) / weightBytes) refuse(Corruption.truncated);
    at += weightBytes * count;
  };

  if (readU64(view, take(8)) !== 16) refuse(Corruption.userIdLength, 0);
  take(16);
  const rank = dimension();
  const inputDim = dimension();
  weights(rank, inputDim);
  const outputDim = dimension();
  if (dimension() !== rank) refuse(Corruption.layerRanks, at - 8);
  weights(outputDim, rank);
  if (readU64(view, take(8)) !== rank) refuse(Corruption.rankField, at - 8);
  const scalingFactor = view.getFloat32(take(4), true);
  if (!Number.isFinite(scalingFactor)) refuse(Corruption.scalingFactor, at - 4);
  const trainingIterations = readU64(view, take(8));
  if (trainingIterations > Number.MAX_SAFE_INTEGER) refuse(Corruption.trainingIterations, at - 8);
  if (at !== bytes.length) refuse(Corruption.trailingBytes);
  return { rank, inputDim, outputDim, scalingFactor, trainingIterations };
}

/** The byte, in the record, of the first weight that is NaN or infinite; -1 when all are finite. */
function firstBadWeight({ base, user }: Weights): number {
  const inBase = firstNotFinite(base);
  if (inBase >= 0) return BASE_WEIGHTS_AT + 4 * inBase;
  const inUser = firstNotFinite(user);
  return inUser < 0 ? -1 : BASE_WEIGHTS_AT + 4 * base.length + LAYER_HEADER_BYTES + 4 * inUser;
}

function firstNotFinite(weights: Float32Array): number {
  const bits = new Int32Array(weights.buffer, weights.byteOffset, weights.length);
  // An exponent of all ones, and no other, carries into the sign bit: one branch for all weights instead of one for each.
  let carry = 0;
  for (let i = 0; i < bits.length; i++) carry |= (((bits[i] as number) & 0x7f800000) + 0x00800000) | 0;
  return carry >= 0 ? -1 : weights.findIndex((weight) => !Number.isFinite(weight));
}

// Exact up to 2^53; above that still above, which is all that is asked.
function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + 2 ** 32 * view.getUint32(at + 4, true);
}

function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

function bytesOf(weights: Float32Array): Uint8Array {
  return new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
}
