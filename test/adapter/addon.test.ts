/** The addon called directly, as src/ never would: wrong arguments are JavaScript errors. */
import { describe, expect, test } from 'vitest';
import type { Addon } from '../../src/adapter/native.js';
import { addon, goldenBytes } from '../support/adapters.js';

const native = addon();
const bytes = goldenBytes('tiny-1x1-1.bin');
const facts = () => Float64Array.of(1, 1, 1, 16, 1, 0);
const shared = (length: number) => new Uint8Array(new SharedArrayBuffer(length));

function detached(length: number): Uint8Array {
  const array = new Uint8Array(length);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

const target = () => new Uint8Array(bytes.length);
const decode = native.decode as (...args: unknown[]) => unknown;

describe.each([
  ['verify', native.verify as (...args: unknown[]) => unknown],
  ['decode', (bytes: unknown, facts: unknown, ...checksum: unknown[]) => decode(bytes, facts, target(), ...checksum)],
  ['decodeHalf', native.decodeHalf as (...args: unknown[]) => unknown],
])('%s', (_, call) => {
  test.each([
    ['nothing', []],
    ['undefined', [undefined, facts()]],
    ['a string', ['bytes', facts()]],
    ['an object that claims a length', [{ length: 100 }, facts()]],
    ['an ArrayBuffer', [new ArrayBuffer(100), facts()]],
    ['a DataView', [new DataView(new ArrayBuffer(100)), facts()]],
    ['bytes of another type', [new Uint16Array(50), facts()]],
    ['shared memory', [shared(100), facts()]],
    ['detached memory', [detached(100), facts()]],
    ['no facts', [bytes]],
    ['facts of another type', [bytes, new Float32Array(6)]],
    ['too few facts', [bytes, new Float64Array(5)]],
    ['a seed without a checksum', [bytes, facts(), 0]],
    ['a checksum that is no number', [bytes, facts(), 0, '0']],
  ])('throws a TypeError on %s', (_, args) => {
    expect(() => call(...args)).toThrow(TypeError);
  });
});

describe('decode', () => {
  test('fills the target; what follows its arguments is ignored', () => {
    const copy = target();
    expect(decode(bytes, facts(), copy, undefined, undefined, 3)).toBe(0);
    expect(Buffer.from(copy)).toEqual(bytes);
  });

  test.each([
    ['none', undefined],
    ['a shared one', shared(100)],
    ['a detached one', detached(100)],
    ['one of another type', new Float32Array(25)],
    ['a number', 100],
  ])('throws a TypeError on a target that is %s', (_, wrong) => {
    expect(() => decode(bytes, facts(), wrong)).toThrow(TypeError);
  });

  const memory = new ArrayBuffer(200);
  new Uint8Array(memory).set(bytes);
  test.each([
    ['too short', bytes, facts(), new Uint8Array(99)],
    ['too long', bytes, facts(), new Uint8Array(101)],
    ['the bytes themselves', new Uint8Array(memory, 0, 100), facts(), new Uint8Array(memory, 0, 100)],
    ['partly the bytes', new Uint8Array(memory, 0, 100), facts(), new Uint8Array(memory, 99, 100)],
    ['partly the facts', bytes, new Float64Array(memory, 152, 6), new Uint8Array(memory, 100, 100)],
  ])('throws a RangeError on a target that is %s', (_, ...args) => {
    expect(() => decode(...args)).toThrow(RangeError);
  });
});

describe('encode', () => {
  type Args = [Uint8Array, Uint8Array, Float64Array, Float32Array, Float32Array];
  const valid = (): Args => [
    new Uint8Array(100),
    new Uint8Array(16),
    facts(),
    new Float32Array(1),
    new Float32Array(1),
  ];
  const changed = (index: number, value: unknown) => valid().with(index, value as never) as Args;

  test('accepts what fits', () => {
    expect(native.encode(...valid())).toBe(0);
  });

  test.each([
    ['a shared target', changed(0, shared(100))],
    ['a detached target', changed(0, detached(100))],
    ['a user id as text', changed(1, 'id')],
    ['facts as an array', changed(2, [1, 1, 1, 16, 1, 0])],
    ['weights in float64', changed(3, new Float64Array(1))],
    ['weights as an array', changed(4, [1])],
  ])('throws a TypeError on %s', (_, args) => {
    expect(() => native.encode(...args)).toThrow(TypeError);
  });

  test.each([
    ['a target too small', changed(0, new Uint8Array(99))],
    ['a target too large', changed(0, new Uint8Array(101))],
    ['a short user id', changed(1, new Uint8Array(15))],
    ['no base weights', changed(3, new Float32Array(0))],
    ['too many user weights', changed(4, new Float32Array(2))],
    ...[0, -1, 0.5, 2, 2 ** 53, 2 ** 62, Number.NaN, Number.POSITIVE_INFINITY].map((rank): [string, Args] => [
      `rank ${rank}`,
      changed(2, facts().with(0, rank)),
    ]),
    // Modulo 2^64 these dimensions make no weights at all, and a record of 92 bytes.
    [
      'dimensions whose products overflow to what is there',
      [
        new Uint8Array(92),
        new Uint8Array(16),
        Float64Array.of(2 ** 52, 2 ** 12, 2 ** 12, 16, 1, 0),
        new Float32Array(0),
        new Float32Array(0),
      ],
    ],
    ['a NaN scaling factor', changed(2, facts().with(3, Number.NaN))],
    ['a scaling factor beyond f32', changed(2, facts().with(3, 1e300))],
    ['half an iteration', changed(2, facts().with(4, 0.5))],
    ['2^53 iterations', changed(2, facts().with(4, 2 ** 53))],
  ] as [string, Args][])('throws a RangeError on %s', (_, args) => {
    expect(() => native.encode(...args)).toThrow(RangeError);
  });
});

describe('memory that two arguments share', () => {
  // The NaN of the base is its first weight: writing the record would move it to where nobody looks for it.
  test.each(['user id', 'facts', 'base', 'user'])('is refused where a record is written over its %s', (name) => {
    const size = 92 + 4 * (40 + 40);
    const memory = new ArrayBuffer(2048);
    const target = new Uint8Array(memory, 0, size);
    const own = {
      id: new Uint8Array(16),
      facts: Float64Array.of(1, 40, 40, 16, 1, 0),
      base: new Float32Array(40),
      user: new Float32Array(40),
    };
    expect(native.encode(target, own.id, own.facts, own.base, own.user)).toBe(0);
    // Side by side is not overlapping.
    expect(native.encode(target, new Uint8Array(memory, size, 16), own.facts, own.base, own.user)).toBe(0);
    if (name === 'user id') own.id = new Uint8Array(memory, size - 1, 16);
    if (name === 'facts') {
      own.facts = new Float64Array(memory, 400, 6);
      own.facts.set([1, 40, 40, 16, 1, 0]);
    }
    if (name === 'base') own.base = new Float32Array(memory, 52, 40).fill(1).fill(Number.NaN, 0, 1);
    if (name === 'user') own.user = new Float32Array(memory, size - 4, 40);
    expect(() => native.encode(target, own.id, own.facts, own.base, own.user)).toThrow(RangeError);
  });

  test('does the arithmetic no harm: an input may become the output, and other overlaps stay within', () => {
    const memory = new Float32Array(4096).map((_, i) => Math.sin(i));
    for (const simd of ['avx512', 'avx2', 'neon', 'scalar']) {
      const kernels = native.kernels(simd);
      if (kernels === undefined) continue;
      const base = memory.slice(0, 70 * 40);
      const both = memory.slice(0, 40);
      const expected = new Float32Array(40);
      kernels.forward(base, base, 0.5, both, expected);
      kernels.forward(base, base, 0.5, both, both);
      expect(both).toEqual(expected);
      const guarded = memory.slice();
      const inside = guarded.subarray(100, 3000);
      kernels.forward(
        inside.subarray(0, 2800),
        inside.subarray(0, 2800),
        1,
        inside.subarray(3, 43),
        inside.subarray(5, 45),
      );
      kernels.scoreMany(
        inside.subarray(0, 2800),
        inside.subarray(0, 2800),
        1,
        inside.subarray(0, 2800),
        inside.subarray(3, 43),
        inside.subarray(1, 71),
      );
      kernels.descend(inside.subarray(0, 2800), inside.subarray(3, 43), inside.subarray(7, 77));
      expect(guarded.subarray(0, 100)).toEqual(memory.subarray(0, 100));
      expect(guarded.subarray(3000)).toEqual(memory.subarray(3000));
    }
  });

  test('is measured when it is used: a view that follows its buffer fits or is refused', () => {
    // TypeScript's ES2023 does not know them; every Node that we run on does.
    const Resizable = ArrayBuffer as unknown as new (
      length: number,
      options: object,
    ) => ArrayBuffer & { resize(length: number): void };
    const buffer = new Resizable(160, { maxByteLength: 1600 });
    const input = new Float32Array(buffer).fill(1);
    const base = new Float32Array(2 * 40).fill(1);
    const out = new Float32Array(3);
    const run = () => native.kernels()?.forward(base, new Float32Array(6).fill(1), 1, input, out);
    run();
    expect([...out]).toEqual([80, 80, 80]);
    for (const length of [156, 4, 0, 1600]) {
      buffer.resize(length);
      expect(run).toThrow(RangeError);
    }
    buffer.resize(160);
    run();
    buffer.resize(80);
    const fixed = new Uint8Array(buffer, 40, 40);
    buffer.resize(60);
    // Out of bounds altogether: an array without bytes, which is no record.
    expect(native.decode(fixed, facts(), new Uint8Array(0))).toBe(1);
  });
});

describe('readEntryHeader', () => {
  const entry = () => new Uint8Array(48);
  const header = () => new Float64Array(9);

  test.each([
    ['nothing', []],
    ['text', ['LRS1', 'key', header()]],
    ['shared memory', [shared(48), 'key', header()]],
    ['detached memory', [detached(48), 'key', header()]],
    ['a key in bytes', [entry(), Buffer.from('key'), header()]],
    ['no header', [entry(), 'key']],
    ['a header of another type', [entry(), 'key', new Float32Array(9)]],
  ])('throws a TypeError on %s', (_, args) => {
    expect(() => native.readEntryHeader(...(args as Parameters<Addon['readEntryHeader']>))).toThrow(TypeError);
  });

  test('throws a RangeError on a key that is longer than any, and on a header without room', () => {
    expect(native.readEntryHeader(entry(), 'ü'.repeat(256), header())).toBe(14);
    expect(() => native.readEntryHeader(entry(), 'k'.repeat(513), header())).toThrow(RangeError);
    expect(() => native.readEntryHeader(entry(), 'ü'.repeat(257), header())).toThrow(RangeError);
    expect(() => native.readEntryHeader(entry(), 'k', new Float64Array(8))).toThrow(RangeError);
  });
});

describe('crc32c', () => {
  test.each([
    ['nothing', []],
    ['text', ['123456789', 0]],
    ['floats', [new Float32Array(1), 0]],
    ['shared memory', [shared(9), 0]],
    ['detached memory', [detached(9), 0]],
    ['no seed', [bytes]],
    ['a seed as text', [bytes, '0']],
  ])('throws a TypeError on %s', (_, args) => {
    expect(() => native.crc32c(...(args as [Uint8Array, number]))).toThrow(TypeError);
  });
});
