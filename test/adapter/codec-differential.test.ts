/**
 * Portable and native answer alike whatever they are given: a million seeded inputs, value for value, and error for error
 * with the same reason at the same offset. Each case has a seed of its own, so that a difference is found again by itself.
 * A new kind of input is one more entry of KINDS.
 */
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Corruption } from '../../src/adapter/corruption.js';
import { type Codec, recordBytes, type Weights } from '../../src/adapter/record.js';
import { AdapterCorruptError } from '../../src/errors.js';
import {
  addon,
  bytesOf,
  codecs,
  fieldsOf,
  goldenBytes,
  goldenRecords,
  integerBelow,
  randomVector,
  seeded,
  varintBytesOf,
} from '../support/adapters.js';
import { damaged, noise } from '../support/damage.js';
import { oddEntry } from '../support/odd-entries.js';
import { hugeBits, notFiniteBits, smallBits, weightsOfBits } from '../support/odd-weights.js';
import { outcome, outcomeInWords, sameOutcome, sameRefusal } from '../support/outcome.js';

type Random = () => number;
/** Adds one to what is counted under this name. */
type Count = (what: string) => void;
/** What the two codecs disagree on, with the bytes in question; undefined where they agree. */
type Difference = { what: string; bytes: Uint8Array } | undefined;

const SEED = 20261123;
const [[, portable], [, native]] = codecs as [[string, Codec], [string, Codec]];
const { crc32c } = addon();

// The last of them is moved in more than one piece by the native codec.
const records = [
  ...Array.from({ length: 20 }, (_, i) => bytesOf(fieldsOf(1 + (i % 4), 1 + (i % 7), 1 + (i % 5), i))),
  ...goldenRecords.filter(({ bytes }) => bytes < 1000).map(({ file }) => goldenBytes(file)),
  bytesOf(fieldsOf(8, 200, 31)),
];
const varints = Array.from({ length: 3 }, (_, i) => varintBytesOf(fieldsOf(1 + i, 2, 3, i)));
const halves = records.map((bytes) => portable.halve(portable.decode(bytes)) as Buffer);
const slices = Buffer.from(randomVector(seeded(SEED), 16_384).buffer);

const KINDS: [name: string, cases: number, compare: (random: Random, count: Count) => Difference, seen: number][] = [
  // Every code, the varints, and records that survived.
  ['damaged records', 200_000, (random, count) => damage([...records, ...varints], 4, random, count), reasons()],
  ['damaged halves', 200_000, (random, count) => damage([...halves, ...varints], 2, random, count), reasons()],
  ['noise as records', 75_000, (random, count) => decode(noise(4, random), 4, random, count), 10],
  ['noise as halves', 75_000, (random, count) => decode(noise(2, random), 2, random, count), 10],
  // With a body and without, and refused: for its end, its format, its length, its checksum.
  ['entries of Redis', 100_000, entry, 6],
  // Halved, and refused.
  ['records to be halved', 125_000, halve, 2],
  // Encoded, and refused in either layer.
  ['weights to be encoded', 125_000, encode, 3],
  ['slices to be summed', 100_000, sum, 1],
];

// A stack for each of a million errors would take most of the time, and nobody reads it.
const { stackTraceLimit } = Error;
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

test('there are a million of them', () => {
  expect(KINDS.reduce((sum, [, cases]) => sum + cases, 0)).toBe(1_000_000);
});

test.each(KINDS)('%s: the answers to %d are the same, and all there are occur', (name, cases, compare, seen) => {
  const counts = new Map<string, number>();
  const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
  for (let i = 0; i < cases; i++) {
    const seed = (SEED + Math.imul(i, 0x9e3779b1)) | 0;
    const difference = compare(seeded(seed), count);
    // Not through expect(): a million deep comparisons would take most of the time.
    if (difference === undefined) continue;
    const { what, bytes } = difference;
    expect.fail(`${name}, case ${i}, seed ${seed}: ${what} for ${Buffer.from(bytes).toString('hex')}`);
  }
  console.log([name, ...[...counts].sort().map(([what, times]) => `${times} ${what}`)].join('\n  '));
  expect([...counts.keys()]).toHaveLength(seen);
});

function reasons(): number {
  return Object.keys(Corruption).filter((name) => !name.startsWith('entry')).length + 2;
}

function damage(originals: Buffer[], weightBytes: 2 | 4, random: Random, count: Count): Difference {
  const original = originals[integerBelow(random, originals.length)] as Buffer;
  return decode(damaged(original, weightBytes, random), weightBytes, random, count);
}

function decode(bytes: Buffer, weightBytes: 2 | 4, random: Random, count: Count): Difference {
  const checksum = checksumFor(bytes, random);
  const method = weightBytes === 2 ? 'decodeHalf' : 'decode';
  const expected = outcome(() => portable[method](bytes, checksum));
  const actual = outcome(() => native[method](bytes, checksum));
  count(expected instanceof AdapterCorruptError ? expected.reason : 'record');
  if (weightBytes === 4) {
    for (const { adopt } of [portable, native]) {
      const adopted = outcome(() => adopt(Buffer.from(Uint8Array.from(bytes).buffer), checksum));
      if (!sameOutcome(expected, adopted))
        return {
          what: `${outcomeInWords(expected)}, ${outcomeInWords(adopted)} adopted with ${JSON.stringify(checksum)}`,
          bytes,
        };
    }
  }
  if (sameOutcome(expected, actual)) return undefined;
  return { what: `${outcomeInWords(expected)}, ${outcomeInWords(actual)} with ${JSON.stringify(checksum)}`, bytes };
}

/** None, the right one, or a wrong one. */
function checksumFor(bytes: Buffer, random: Random) {
  const chance = random();
  if (chance < 0.4) return undefined;
  const seed = integerBelow(random, 2 ** 32);
  return { seed, expected: chance < 0.9 ? native.crc32c(bytes, seed) : integerBelow(random, 2 ** 32) };
}

function entry(random: Random, count: Count): Difference {
  const { key, bytes } = oddEntry([...records, ...halves], native.crc32c, random);
  const expected = outcome(() => portable.readEntryHeader(bytes, key));
  const actual = outcome(() => native.readEntryHeader(bytes, key));
  const refused = expected instanceof AdapterCorruptError;
  count(refused ? expected.reason : expected.version === 0 ? 'absent' : 'with a body');
  // Deep, but on ten numbers, and exact: every NaN is one.
  if (refused ? sameRefusal(expected, actual) : isDeepStrictEqual(expected, actual)) return undefined;
  return { what: `${JSON.stringify(expected)}, ${JSON.stringify(actual)} under ${key}`, bytes };
}

function halve(random: Random, count: Count): Difference {
  const hugeRate = random() < 0.5 ? 0 : 0.02;
  const weights = weightsOfBits(random, (random) => (random() < hugeRate ? hugeBits : smallBits)(random));
  const bytes = roomFor(weights);
  portable.encodeInto(bytes, weights, 0);
  const record = portable.decode(bytes);
  const [expected, actual] = [portable.halve(record), native.halve(record)];
  count(expected === undefined ? 'refused' : 'halved');
  const same = expected === undefined || actual === undefined ? expected === actual : expected.equals(actual);
  return same ? undefined : { what: `${expected?.toString('hex')}, ${actual?.toString('hex')}`, bytes };
}

function encode(random: Random, count: Count): Difference {
  const badRate = random() < 0.5 ? 0 : 0.02;
  const weights = weightsOfBits(random, (random) => {
    if (random() < badRate) return notFiniteBits(random);
    return (random() < 0.1 ? hugeBits : smallBits)(random);
  });
  const iterations = integerBelow(random, 2 ** 53);
  const [bytes, others] = [roomFor(weights), roomFor(weights)];
  const expected = portable.encodeInto(bytes, weights, iterations);
  const actual = native.encodeInto(others, weights, iterations);
  count(expected < 0 ? 'encoded' : expected < 48 + 4 * weights.base.length ? 'refused in base' : 'refused in user');
  // What a refusal leaves behind is of no use to anybody.
  if (expected === actual && (expected >= 0 || bytes.equals(others))) return undefined;
  return { what: `${expected}, ${actual}, ${others.toString('hex')}`, bytes };
}

function roomFor({ rank, inputDim, outputDim }: Weights): Buffer {
  return Buffer.alloc(recordBytes(rank, inputDim, outputDim));
}

function sum(random: Random, count: Count): Difference {
  const most = random() < 0.9 ? 300 : 10_000;
  const from = integerBelow(random, slices.length - most);
  const bytes = slices.subarray(from, from + integerBelow(random, most));
  const seed = integerBelow(random, 2 ** 32);
  const expected = portable.crc32c(bytes, seed);
  count('summed');
  for (const way of ['folding', 'instruction', 'tables']) {
    // Undefined where this CPU has no such way.
    const actual = crc32c(bytes, seed, way) ?? expected;
    if (actual !== expected) return { what: `${expected}, ${actual} by ${way} behind ${seed}`, bytes };
  }
  return undefined;
}
