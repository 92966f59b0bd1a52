/**
 * The one place that loads the addon, from build/ or prebuilds/. Where it does not load, the reason is kept in words: a
 * codec that falls back in silence costs its users the difference and an afternoon. native/addon*.cc are the other side.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { corruptError } from './corruption.js';
import type { Descended, Descent } from './descent.js';
import type { Vector } from './matrix.js';
import { damageOf } from './prebuilt.js';
import { type Codec, type Linear, type RecordFacts, recordOver, roundedRecordOver } from './record.js';
import { userIdToBytes } from './user-id.js';

// What native/addon.cc calls kInterface.
const INTERFACE = 7;

// Indices into facts: `enum Fact` of native/addon-codec.cc.
const RANK = 0;
const INPUT_DIM = 1;
const OUTPUT_DIM = 2;
const SCALING_FACTOR = 3;
const TRAINING_ITERATIONS = 4;
const OFFSET = 5;

// Indices into a header: `enum HeaderField` there.
const REVISION = 0;
const XID = 1;
const SERVER = 2;
const UPDATED_AT = 3;
const VERSION = 4;
const IS_HALF = 5;
const SEED = 6;
const EXPECTED = 7;
const HEADER_OFFSET = 8;

export interface Addon {
  readonly interface: number;
  /** Zero, and the facts of a valid record in the array; or the code, and in the array the offset. */
  verify(bytes: Uint8Array, facts: Float64Array, seed?: number, expected?: number): number;
  /** The same, and target, as long as bytes, has become their copy. */
  decode(bytes: Uint8Array, facts: Float64Array, target: Uint8Array, seed?: number, expected?: number): number;
  /** The record of a valid half, its facts in the array; or the code, and in the array the offset. */
  decodeHalf(bytes: Uint8Array, facts: Float64Array, seed?: number, expected?: number): Buffer | number;
  /** The half of a valid record; undefined where a weight is too large for one. */
  halve(record: Uint8Array): Buffer | undefined;
  /** Zero; or the code of a weight that cannot be encoded, and in the array its offset. */
  encode(target: Uint8Array, id: Uint8Array, facts: Float64Array, base: Float32Array, user: Float32Array): number;
  /** Zero, and the fields in the array; or the code, and in the array its offset. */
  readEntryHeader(entry: Uint8Array, key: string, header: Float64Array): number;
  crc32c(bytes: Uint8Array, seed: number): number;
  /** The same in the way of this name, for tests; undefined where the CPU, or the build, has no such way. */
  crc32c(bytes: Uint8Array, seed: number, way: string): number | undefined;
  /**
   * A run of training steps, in a thread of libuv's pool, on copies. settings: scalingFactor, squaredPreference,
   * learningRate, epochs. Direction and losses, one after the other.
   */
  descent(
    hidden: Float32Array,
    contents: Uint32Array,
    labels: Float64Array,
    reflected: Float32Array,
    settings: Float64Array,
  ): Promise<Float64Array>;
  /** The arithmetic on these lanes, or on the best of this CPU; undefined where it, or the build, has no such lanes. */
  kernels(simd?: string): Kernels | undefined;
}

/** Dimensions follow from the lengths; a RangeError where these do not fit together. */
export interface Kernels {
  readonly simd: Simd;
  forward(base: Vector, user: Vector, scaling: number, input: Vector, out: Float32Array): void;
  score(base: Vector, user: Vector, scaling: number, input: Vector, preference: Vector): number;
  scoreMany(base: Vector, user: Vector, scaling: number, inputs: Vector, preference: Vector, out: Float32Array): void;
  project(base: Vector, input: Vector, out: Float32Array): void;
  reflect(user: Vector, preference: Vector, out: Float32Array): void;
  descend(user: Float32Array, preference: Vector, direction: Vector): void;
  /** False where a number is too large for a half, or a half is no finite number. For tests. */
  toHalf(floats: Float32Array, halves: Uint16Array): boolean;
  fromHalf(halves: Uint16Array, floats: Float32Array): boolean;
}

export type Simd = 'avx512' | 'avx2' | 'neon' | 'scalar';

export interface NotLoaded {
  /** Why, and what to do about it. */
  readonly reason: string;
  readonly cause?: unknown;
}

/** The addon below `root`, the directory of the package. */
export function loadAddon(root = fileURLToPath(new URL('../../', import.meta.url))): Addon | NotLoaded {
  const require = createRequire(import.meta.url);
  const prebuilds = require('pkg-prebuilds') as {
    resolve(root: string, options: object, verify: boolean, throwOnMissing: boolean): string | null;
  };
  const options = require('../../native/binding-options.cjs') as object;
  const remedy = `build it with 'npx cmake-js compile' in ${root} (needs CMake and a C++17 compiler)`;
  const path = prebuilds.resolve(root, options, false, false);
  if (path === null) return { reason: `there is no addon for ${process.platform}-${process.arch}: ${remedy}` };
  try {
    const damage = damageOf(path, root);
    if (damage !== undefined) return { reason: `${path} ${damage}: install the package again, or ${remedy}` };
    const addon = require(path) as Addon;
    return addon.interface === INTERFACE ? addon : { reason: `${path} was built from other sources: ${remedy}` };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    return { reason: `${path} did not load (${message}): ${remedy}`, cause };
  }
}

interface Native {
  readonly codec: Codec;
  readonly linear: Linear;
  readonly longDescent: (run: Descent) => Promise<Descended>;
  readonly simd: Simd;
}

/** The implementation in C++, or why there is none. simd: the lanes it has to compute with; an Error where it cannot. */
export function loadNative(root?: string, simd?: string): Native | NotLoaded {
  const addon = loadAddon(root);
  if ('reason' in addon) return addon;
  const kernels = addon.kernels(simd);
  if (kernels === undefined) {
    const offered = ['avx512', 'avx2', 'neon', 'scalar'].filter((name) => addon.kernels(name) !== undefined);
    throw new Error(
      `LORA_STORE_SIMD is '${simd}': this CPU and build offer ${offered.join(', ')}; set one of them, or unset it`,
    );
  }
  const longDescent = (run: Descent) => descentOver(addon, run);
  return { codec: codecOver(addon), linear: linearOver(kernels), longDescent, simd: kernels.simd };
}

/** kernels: of one kind of lanes. */
export function linearOver(kernels: Kernels): Linear {
  return {
    forward: ({ base, user, scalingFactor }, input, out) => kernels.forward(base, user, scalingFactor, input, out),
    score: ({ base, user, scalingFactor }, input, preference) =>
      kernels.score(base, user, scalingFactor, input, preference),
    scoreMany: ({ base, user, scalingFactor }, inputs, preference, out) =>
      kernels.scoreMany(base, user, scalingFactor, inputs, preference, out),
    project: ({ base }, input, out) => kernels.project(base, input, out),
    reflect: ({ user }, preference, out) => kernels.reflect(user, preference, out),
    descend: (user, preference, direction) => kernels.descend(user, preference, direction),
  };
}

/** run off the event loop. */
export async function descentOver(addon: Addon, run: Descent): Promise<Descended> {
  const { hidden, contents, labels, reflected, scalingFactor, squaredPreference, learningRate, epochs } = run;
  const settings = Float64Array.of(scalingFactor, squaredPreference, learningRate, epochs);
  const results = await addon.descent(hidden, contents, labels, reflected, settings);
  return { direction: results.subarray(0, reflected.length), losses: results.subarray(reflected.length) };
}

function codecOver(addon: Addon): Codec {
  // One each for all calls: they are synchronous, and a worker thread has a module instance of its own.
  const facts = new Float64Array(6);
  const id = Buffer.alloc(16);
  const header = new Float64Array(9);
  const fact = (index: number) => facts[index] as number;
  const field = (index: number) => header[index] as number;

  const factsRead = (): RecordFacts => ({
    rank: fact(RANK),
    inputDim: fact(INPUT_DIM),
    outputDim: fact(OUTPUT_DIM),
    scalingFactor: fact(SCALING_FACTOR),
    trainingIterations: fact(TRAINING_ITERATIONS),
  });

  return {
    decode(bytes, checksum) {
      // Made here: one that Node-API makes costs 0.1 to 0.5 µs more.
      const copy = Buffer.allocUnsafeSlow(bytes.length);
      const code = addon.decode(bytes, facts, copy, checksum?.seed, checksum?.expected);
      if (code !== 0) throw corruptError(bytes, code, fact(OFFSET));
      return recordOver(copy, factsRead());
    },

    adopt(bytes, checksum) {
      const code = addon.verify(bytes, facts, checksum?.seed, checksum?.expected);
      if (code !== 0) throw corruptError(bytes, code, fact(OFFSET));
      return recordOver(bytes, factsRead());
    },

    decodeHalf(bytes, checksum) {
      const outcome = addon.decodeHalf(bytes, facts, checksum?.seed, checksum?.expected);
      if (typeof outcome === 'number') throw corruptError(bytes, outcome, fact(OFFSET));
      return roundedRecordOver(outcome, factsRead());
    },

    halve: (record) => addon.halve(record.bytes),

    encodeInto(target, weights, trainingIterations) {
      userIdToBytes(weights.userId, id, 0);
      facts[RANK] = weights.rank;
      facts[INPUT_DIM] = weights.inputDim;
      facts[OUTPUT_DIM] = weights.outputDim;
      facts[SCALING_FACTOR] = weights.scalingFactor;
      facts[TRAINING_ITERATIONS] = trainingIterations;
      return addon.encode(target, id, facts, weights.base, weights.user) === 0 ? -1 : fact(OFFSET);
    },

    readEntryHeader(entry, key) {
      const code = addon.readEntryHeader(entry, key, header);
      if (code !== 0) throw corruptError(entry, code, field(HEADER_OFFSET));
      return {
        revision: field(REVISION),
        xid: field(XID),
        server: field(SERVER),
        updatedAt: field(UPDATED_AT),
        version: field(VERSION),
        half: field(IS_HALF) !== 0,
        checksum: { seed: field(SEED), expected: field(EXPECTED) },
      };
    },

    crc32c: (bytes, seed) => addon.crc32c(bytes, seed),
  };
}
