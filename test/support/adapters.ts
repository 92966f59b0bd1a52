/** Adapters for tests: the golden records, seeded random ones, and records put together field by field, wrong ones too. */
import { readFileSync } from 'node:fs';
import { type Addon, linearOver, loadAddon, loadNative } from '../../src/adapter/native.js';
import { portable } from '../../src/adapter/portable.js';
import { portableLinear } from '../../src/adapter/portable-linear.js';
import type { Codec, Linear } from '../../src/adapter/record.js';
import { AdapterCorruptError } from '../../src/errors.js';
import { seeded } from './random.js';

export { seeded };

export interface GoldenRecord {
  file: string;
  bytes: number;
  sha256: string;
  userId: string;
  rank: number;
  inputDim: number;
  outputDim: number;
  scalingFactor: number;
  trainingIterations: number;
  baseLayerSum: number;
  userLayerSum: number;
  baseLayerFirst: number;
  userLayerLast: number;
}

const fixtures = new URL('../fixtures/bincode/', import.meta.url);

/** What the Rust crate says of the records it wrote. */
export const goldenRecords = (
  JSON.parse(readFileSync(new URL('manifest.json', fixtures), 'utf8')) as { vectors: GoldenRecord[] }
).vectors;

export function goldenBytes(file: string): Buffer {
  return readFileSync(new URL(file, fixtures));
}

/** Both implementations. The native one is never skipped: without an addon every suite over it fails, saying how to build it. */
export const codecs: [name: string, codec: Codec][] = [
  ['portable', portable],
  ['native', nativeCodec()],
];

function nativeCodec(): Codec {
  const native = loadNative();
  if ('reason' in native) throw new Error(native.reason, { cause: native.cause });
  return native.codec;
}

/** The reference, and the arithmetic on every kind of lanes that this machine has. */
export const linears: [name: string, linear: Linear][] = [
  ['portable', portableLinear],
  ...['avx512', 'avx2', 'neon', 'scalar'].flatMap((simd): [string, Linear][] => {
    const kernels = addon().kernels(simd);
    return kernels === undefined ? [] : [[simd, linearOver(kernels)]];
  }),
];

export interface Refusal {
  reason: string;
  offset: number | undefined;
}

/** Why these bytes are refused; undefined when they are not. Any other error passes through. */
export function refusal(codec: Codec, bytes: Uint8Array): Refusal | undefined {
  try {
    codec.decode(bytes);
    return undefined;
  } catch (error) {
    if (!(error instanceof AdapterCorruptError)) throw error;
    return { reason: error.reason, offset: error.offset };
  }
}

/** The addon itself, below the codec over it. */
export function addon(): Addon {
  const loaded = loadAddon();
  if ('reason' in loaded) throw new Error(loaded.reason, { cause: loaded.cause });
  return loaded;
}

export function integerBelow(random: () => number, limit: number): number {
  return Math.floor(random() * limit);
}

export function randomVector(random: () => number, length: number): Float32Array {
  return Float32Array.from({ length }, () => 2 * random() - 1);
}

/** The fields of a record as bincode 1.3 writes them, in order; any may be wrong. */
export interface Fields {
  idLength?: bigint;
  id?: Uint8Array;
  baseRows: bigint;
  baseCols: bigint;
  baseCount: bigint;
  base: Float32Array;
  userRows: bigint;
  userCols: bigint;
  userCount: bigint;
  user: Float32Array;
  rank: bigint;
  scalingFactor: number;
  trainingIterations: bigint;
}

/** Valid fields of a small record with seeded weights. */
export function fieldsOf(rank: number, inputDim: number, outputDim: number, seed = 1): Fields {
  const random = seeded(seed);
  return {
    id: Uint8Array.from({ length: 16 }, () => integerBelow(random, 256)),
    baseRows: BigInt(rank),
    baseCols: BigInt(inputDim),
    baseCount: BigInt(rank * inputDim),
    base: randomVector(random, rank * inputDim),
    userRows: BigInt(outputDim),
    userCols: BigInt(rank),
    userCount: BigInt(outputDim * rank),
    user: randomVector(random, outputDim * rank),
    rank: BigInt(rank),
    scalingFactor: Math.fround(16 / rank),
    trainingIterations: BigInt(integerBelow(random, 2 ** 32)),
  };
}

export function bytesOf(fields: Fields): Buffer {
  const { idLength = 16n, id = new Uint8Array(16) } = fields;
  return Buffer.concat([
    u64(idLength),
    id,
    u64(fields.baseRows),
    u64(fields.baseCols),
    u64(fields.baseCount),
    f32(...fields.base),
    u64(fields.userRows),
    u64(fields.userCols),
    u64(fields.userCount),
    f32(...fields.user),
    u64(fields.rank),
    f32(fields.scalingFactor),
    u64(fields.trainingIterations),
  ]);
}

/** What bincode 2's standard() config writes: lengths as varints, floats as they are. */
export function varintBytesOf(fields: Fields): Buffer {
  const { idLength = 16n, id = new Uint8Array(16) } = fields;
  return Buffer.concat([
    varint(idLength),
    id,
    varint(fields.baseRows),
    varint(fields.baseCols),
    varint(fields.baseCount),
    f32(...fields.base),
    varint(fields.userRows),
    varint(fields.userCols),
    varint(fields.userCount),
    f32(...fields.user),
    varint(fields.rank),
    f32(fields.scalingFactor),
    varint(fields.trainingIterations),
  ]);
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

function f32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => {
    bytes.writeFloatLE(value, 4 * index);
  });
  return bytes;
}

function varint(value: bigint): Buffer {
  if (value < 251n) return Buffer.from([Number(value)]);
  if (value < 2n ** 16n) return Buffer.concat([Buffer.from([251]), u64(value).subarray(0, 2)]);
  if (value < 2n ** 32n) return Buffer.concat([Buffer.from([252]), u64(value).subarray(0, 4)]);
  return Buffer.concat([Buffer.from([253]), u64(value)]);
}
