/**
 * An adapter at rest: its bincode bytes in private memory, and the numbers read from them. Immutable by agreement: once
 * a record exists nobody writes to it, so caches hand out one record to everyone. Layout: docs/format.md.
 */
import type { EntryHeader } from './entry-header.js';
import type { Vector } from './matrix.js';
import { userIdFromBytes } from './user-id.js';

/** The numbers of an adapter, whether or not they sit inside a record. Never written to once shared. */
export interface Weights {
  /** Canonical lower case. */
  readonly userId: string;
  readonly rank: number;
  readonly inputDim: number;
  readonly outputDim: number;
  readonly scalingFactor: number;
  /** A, row-major [rank × inputDim]. */
  readonly base: Float32Array;
  /** B, row-major [outputDim × rank]. */
  readonly user: Float32Array;
  /** Read from a copy in half precision: near the weights that were saved, and not to be trained or saved. */
  readonly rounded?: true;
}

export interface AdapterRecord extends Weights {
  /** The whole bincode record; `base` and `user` are views into it. */
  readonly bytes: Buffer;
  readonly trainingIterations: number;
}

export const USER_ID_AT = 8;
export const BASE_SHAPE_AT = 24;
export const BASE_WEIGHTS_AT = 48;
/** Between the two matrices: rows, columns and count of the second. */
export const LAYER_HEADER_BYTES = 24;
/** Behind the second matrix: rank, scaling_factor, training_iterations. */
export const TAIL_BYTES = 20;

const FIXED_BYTES = BASE_WEIGHTS_AT + LAYER_HEADER_BYTES + TAIL_BYTES;

export function recordBytes(rank: number, inputDim: number, outputDim: number): number {
  return FIXED_BYTES + 4 * rank * (inputDim + outputDim);
}

/** What a codec reads from the bytes besides the weights. */
export interface RecordFacts {
  readonly rank: number;
  readonly inputDim: number;
  readonly outputDim: number;
  readonly scalingFactor: number;
  readonly trainingIterations: number;
}

/** A record over bytes that were checked, are private, and start on a multiple of four in their buffer. */
export function recordOver(bytes: Buffer, facts: RecordFacts): AdapterRecord {
  const { rank, inputDim, outputDim, scalingFactor, trainingIterations } = facts;
  const baseAt = bytes.byteOffset + BASE_WEIGHTS_AT;
  const userAt = baseAt + 4 * rank * inputDim + LAYER_HEADER_BYTES;
  return {
    bytes,
    userId: userIdFromBytes(bytes, USER_ID_AT),
    rank,
    inputDim,
    outputDim,
    scalingFactor,
    trainingIterations,
    base: new Float32Array(bytes.buffer, baseAt, rank * inputDim),
    user: new Float32Array(bytes.buffer, userAt, outputDim * rank),
  };
}

/** recordOver() for bytes that were expanded from half precision. */
export function roundedRecordOver(bytes: Buffer, facts: RecordFacts): AdapterRecord {
  return { ...recordOver(bytes, facts), rounded: true };
}

/** The CRC-32C that the bytes of a record continue, and what it must have become at their end. */
export interface Checksum {
  readonly seed: number;
  readonly expected: number;
}

/** What each implementation offers; bytes that reach it are known to be a Uint8Array over memory nobody else writes. */
export interface Codec {
  /** One private copy of a whole valid record, or AdapterCorruptError. */
  decode(bytes: Uint8Array, checksum?: Checksum): AdapterRecord;
  /** The record in these bytes themselves, which are 4-byte aligned and nobody else's from now on; or AdapterCorruptError. */
  adopt(bytes: Buffer, checksum?: Checksum): AdapterRecord;
  /** The record that these bytes, its half, were made from, but for the rounding; or AdapterCorruptError. */
  decodeHalf(bytes: Uint8Array, checksum?: Checksum): AdapterRecord;
  /** The same record with weights in half precision (docs/format.md); undefined where one is too large for that. */
  halve(record: AdapterRecord): Buffer | undefined;
  /** Writes a record into target (of exactly recordBytes()); returns the byte of the first NaN or infinite weight, or -1. */
  encodeInto(target: Buffer, weights: Weights, trainingIterations: number): number;
  /** Of what Redis holds under this key; AdapterCorruptError where it is no entry. */
  readEntryHeader(entry: Uint8Array, key: string): EntryHeader;
  crc32c(bytes: Uint8Array, seed: number): number;
}

/** The arithmetic each implementation offers; lengths and memory of what reaches it were checked. */
export interface Linear {
  /** out [outputDim] = s·B·(A·input). */
  forward(weights: Weights, input: Vector, out: Float32Array): void;
  /** preference · forward(input). */
  score(weights: Weights, input: Vector, preference: Vector): number;
  /** out [n]: score of each of the n rows of inputs. */
  scoreMany(weights: Weights, inputs: Vector, preference: Vector, out: Float32Array): void;
  /** out [rank] = A·input. */
  project(weights: Weights, input: Vector, out: Float32Array): void;
  /** out [rank] = Bᵀ·preference. */
  reflect(weights: Weights, preference: Vector, out: Float32Array): void;
  /** user [outputDim × rank] -= preference [outputDim] ⊗ direction [rank]: descent of the user layer. */
  descend(user: Float32Array, preference: Vector, direction: Vector): void;
}
