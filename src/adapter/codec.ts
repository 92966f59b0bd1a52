/**
 * Adapters to bytes and back: bincode 1.3 records, laid out in docs/format.md, by the implementation of this process.
 */
import { types } from 'node:util';
import { InvalidAdapterError } from '../errors.js';
import { adapterFromRecord, type UserLoRAAdapter, weightsOf } from './adapter.js';
import type { EntryHeader } from './entry-header.js';
import { implementation } from './implementation.js';
import {
  type AdapterRecord,
  BASE_WEIGHTS_AT,
  type Checksum,
  LAYER_HEADER_BYTES,
  recordBytes,
  recordOver,
  type Weights,
} from './record.js';

export { codec } from './implementation.js';

/**
 * bincode 1.3 record (docs/format.md), in a Buffer of the caller's own; 41,052 bytes at the default shape. Throws
 * InvalidAdapterError on NaN or infinity, and on a trainingIterations that is no integer from 0 to 2^53 - 1.
 */
export function encodeAdapter(adapter: UserLoRAAdapter): Buffer {
  const weights = weightsOf(adapter);
  const trainingIterations = iterationsOf(adapter);
  const record = recordOf(weights);
  return record === undefined ? encodeWeights(weights, trainingIterations) : copyOf(record, trainingIterations);
}

/**
 * Inverse of encodeAdapter; never reads past bytes, never allocates more than bytes.length justifies. Trailing bytes are
 * refused. The record holds no time: lastTrainedTime is now. Throws AdapterCorruptError.
 */
export function decodeAdapter(bytes: Uint8Array): UserLoRAAdapter {
  return adapterFromRecord(decodeRecord(bytes), Date.now());
}

/** A private record of these bytes, which may change afterwards. Throws AdapterCorruptError. */
export function decodeRecord(bytes: Uint8Array, checksum?: Checksum): AdapterRecord {
  expectBytes(bytes);
  return implementation.codec.decode(bytes, checksum);
}

/**
 * decodeRecord() of bytes that are nobody else's from now on: without a copy, unless they lie where no Float32Array may, or
 * with more than mostBeside other bytes in their ArrayBuffer. Those might be somebody's, who may transfer it to a worker.
 */
export function adoptRecord(bytes: Buffer, mostBeside: number, checksum?: Checksum): AdapterRecord {
  expectBytes(bytes);
  const { codec } = implementation;
  const beside = bytes.buffer.byteLength - bytes.length;
  const tidy = bytes.byteOffset % 4 === 0 && beside <= mostBeside;
  return tidy ? codec.adopt(bytes, checksum) : codec.decode(bytes, checksum);
}

/** The same of what halve() made: the record, rounded. */
export function decodeHalf(bytes: Uint8Array, checksum?: Checksum): AdapterRecord {
  expectBytes(bytes);
  return implementation.codec.decodeHalf(bytes, checksum);
}

/** The header of what Redis holds under this key. Throws AdapterCorruptError. */
export function readEntryHeader(entry: Uint8Array, key: string): EntryHeader {
  return implementation.codec.readEntryHeader(entry, key);
}

/** The record with its weights in half precision; undefined where one is too large for that. */
export function halve(record: AdapterRecord): Buffer | undefined {
  return implementation.codec.halve(record);
}

/** The record of this adapter as it is now: the very one it was loaded from when nothing changed, so not to be written to. */
export function encodeRecord(adapter: UserLoRAAdapter): AdapterRecord {
  const weights = weightsOf(adapter);
  const trainingIterations = iterationsOf(adapter);
  const record = recordOf(weights);
  if (record?.trainingIterations === trainingIterations) return record;
  const bytes = record === undefined ? encodeWeights(weights, trainingIterations) : copyOf(record, trainingIterations);
  return recordOver(bytes, { ...weights, trainingIterations });
}

/** CRC-32C (Castagnoli); seed: the CRC of what came before these bytes. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  expectBytes(bytes);
  return implementation.codec.crc32c(bytes, seed);
}

function encodeWeights(weights: Weights, trainingIterations: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(recordBytes(weights.rank, weights.inputDim, weights.outputDim));
  const bad = implementation.codec.encodeInto(bytes, weights, trainingIterations);
  if (bad < 0) return bytes;
  const userAt = BASE_WEIGHTS_AT + 4 * weights.base.length + LAYER_HEADER_BYTES;
  const where =
    bad < userAt ? `base layer, index ${(bad - BASE_WEIGHTS_AT) / 4}` : `user layer, index ${(bad - userAt) / 4}`;
  throw new InvalidAdapterError(`a weight is NaN or infinite: ${where}`);
}

function recordOf(weights: Weights): AdapterRecord | undefined {
  return 'bytes' in weights ? (weights as AdapterRecord) : undefined;
}

function iterationsOf({ trainingIterations }: UserLoRAAdapter): number {
  if (Number.isSafeInteger(trainingIterations) && trainingIterations >= 0) return trainingIterations;
  throw new InvalidAdapterError('trainingIterations is an integer from 0 to 2^53 - 1');
}

function copyOf(record: AdapterRecord, trainingIterations: number): Buffer {
  const { bytes } = record;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  if (trainingIterations !== record.trainingIterations) {
    copy.writeBigUInt64LE(BigInt(trainingIterations), copy.length - 8);
  }
  return copy;
}

// Shared memory could change between the check and the copy; the addon refuses it as well.
function expectBytes(bytes: unknown): void {
  if (!types.isUint8Array(bytes)) throw new InvalidAdapterError('bytes are a Uint8Array or Buffer');
  if (types.isSharedArrayBuffer(bytes.buffer)) throw new InvalidAdapterError('bytes are not in a SharedArrayBuffer');
}
