/**
 * Half precision: every half there is, and floats where rounding is decided, the same bits from every implementation; and
 * the half of a record, expanded again, within the error that docs/format.md states.
 */
import { describe, expect, test } from 'vitest';
import { floatOf, halfOf } from '../../src/adapter/half.js';
import type { Kernels } from '../../src/adapter/native.js';
import { AdapterCorruptError } from '../../src/errors.js';
import { addon, codecs, goldenBytes, goldenRecords, linears, seeded } from '../support/adapters.js';

const native = linears.map(([name]) => name).filter((name) => name !== 'portable');
const kernelsOf = (simd: string) => addon().kernels(simd) as Kernels;
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);
const floatAt = (pattern: number) => {
  bits[0] = pattern;
  return float[0] as number;
};

/** All finite ones, of both signs. */
const halves = Uint16Array.from({ length: 0x10000 }, (_, i) => i).filter((half) => (half & 0x7c00) !== 0x7c00);

/** Each half, the middle between it and the next one, and the floats on both sides of either. */
const floats = Float32Array.from(
  [...halves].flatMap((half) => {
    const [size, next] = [Math.abs(floatOf(half)), Math.abs(floatOf((half & 0x7fff) + 1))];
    const sign = half & 0x8000 ? -1 : 1;
    return [size, (size + next) / 2].flatMap((value) => {
      float[0] = value;
      const pattern = bits[0] as number;
      return [pattern - 1, pattern, pattern + 1].filter((near) => near >= 0).map((near) => sign * floatAt(near));
    });
  }),
).filter((value) => Math.abs(value) < 65_520);

test('the reference is exact at what the standard says', () => {
  expect([1, -2, 65_504, 2 ** -14, 2 ** -24, 0, -0].map(halfOf)).toEqual([
    0x3c00, 0xc000, 0x7bff, 0x0400, 1, 0, 0x8000,
  ]);
  expect([0.1, 1 / 3, Math.PI].map(halfOf)).toEqual([0x2e66, 0x3555, 0x4248]);
  // Ties to even: halfway between two steps, at the foot of the subnormals, and at the end.
  expect([2049, 2051, 2 ** -25, 3 * 2 ** -25, 65_519.99, 65_520].map(halfOf)).toEqual([
    0x6800, 0x6802, 0, 2, 0x7bff, 0x7c00,
  ]);
  expect([Number.NaN, Number.POSITIVE_INFINITY, -1e38].map(halfOf)).toEqual([0x7c00, 0x7c00, 0xfc00]);
  for (const half of halves) expect(halfOf(floatOf(half))).toBe(half);
});

describe.each(native)('%s', (simd) => {
  const kernels = kernelsOf(simd);

  test('expands every half as the reference does', () => {
    const out = new Float32Array(halves.length);
    expect(kernels.fromHalf(halves, out)).toBe(true);
    expect(Buffer.from(out.buffer).equals(Buffer.from(Float32Array.from(halves, floatOf).buffer))).toBe(true);
  });

  test('rounds every float where it is decided as the reference does', () => {
    const out = new Uint16Array(floats.length);
    expect(kernels.toHalf(floats, out)).toBe(true);
    expect(out.every((half, i) => half === halfOf(floats[i] as number))).toBe(true);
  });

  test.each([0, 7, 8, 9, 15, 16, 40])('one that is too large is noticed at place %i of 41', (place) => {
    for (const value of [65_520, -65_520, 3e38]) {
      const source = new Float32Array(41).fill(65_504);
      expect(kernels.toHalf(source, new Uint16Array(41))).toBe(true);
      source[place] = value;
      expect(kernels.toHalf(source, new Uint16Array(41))).toBe(false);
    }
    for (const value of [0x7c00, 0xfc00, 0x7c01, 0xffff]) {
      const source = new Uint16Array(41).fill(0x7bff);
      source[place] = value;
      expect(kernels.fromHalf(source, new Float32Array(41))).toBe(false);
    }
  });
});

describe.each(codecs)('%s', (_, codec) => {
  const small = goldenRecords.filter(({ bytes }) => bytes < 100_000);

  test.each(small)('$file: what is expanded is what was halved, rounded', ({ file }) => {
    const record = codec.decode(goldenBytes(file));
    const half = codec.halve(record) as Buffer;
    expect(half.length).toBe(record.bytes.length - 2 * (record.base.length + record.user.length));
    const { rounded, ...back } = codec.decodeHalf(half);
    expect(rounded).toBe(true);
    const { bytes, base, user, ...facts } = back;
    const { bytes: before, base: a, user: b, ...expected } = record;
    expect(facts).toEqual(expected);
    expect(bytes.length).toBe(before.length);
    for (const [from, to] of [
      [a, base],
      [b, user],
    ] as const) {
      for (const [i, weight] of from.entries()) {
        // Half a step of the eleven bits that a half has, or of the smallest there is.
        expect(Math.abs((to[i] as number) - weight)).toBeLessThanOrEqual(
          Math.max(2 ** -11 * Math.abs(weight), 2 ** -25),
        );
      }
    }
    // What was rounded once is not rounded again.
    expect(codec.halve(codec.decodeHalf(half))?.equals(half)).toBe(true);
  });

  test('of weights up to 1 none moves by 0.001', () => {
    const random = seeded(5);
    const record = codec.decode(goldenBytes('small-4x16-32.bin'));
    record.base.forEach((_, i) => {
      record.base[i] = 2 * random() - 1;
    });
    const { base } = codec.decodeHalf(codec.halve(record) as Buffer);
    expect(Math.max(...base.map((weight, i) => Math.abs(weight - (record.base[i] as number))))).toBeLessThan(0.001);
  });

  test('a weight that is too large leaves no half', () => {
    for (const value of [65_520, -1e38, Number.NaN]) {
      const record = codec.decode(goldenBytes('small-4x16-32.bin'));
      record.user[record.user.length - 1] = value;
      expect(codec.halve(record)).toBeUndefined();
    }
  });

  test('a half that is no finite number is refused, with its place', () => {
    const half = codec.halve(codec.decode(goldenBytes('odd-3x7-5.bin'))) as Buffer;
    const userAt = 48 + 2 * 21 + 24;
    for (const at of [48, 48 + 2 * 20, userAt, userAt + 2 * 14]) {
      const damaged = Buffer.from(half);
      damaged.writeUInt16LE(0x7e00, at);
      expect(() => codec.decodeHalf(damaged)).toThrow(
        expect.objectContaining({ reason: 'a weight is NaN or infinite', offset: at }),
      );
    }
  });

  test('every shorter, and every longer one, is refused', () => {
    const half = codec.halve(codec.decode(goldenBytes('odd-3x7-5.bin'))) as Buffer;
    for (let length = 0; length < half.length; length++) {
      expect(() => codec.decodeHalf(half.subarray(0, length))).toThrow(AdapterCorruptError);
    }
    expect(() => codec.decodeHalf(Buffer.concat([half, Buffer.of(0)]))).toThrow('bytes follow the end of the record');
  });
});

describe('a checksum', () => {
  const seed = 99;
  describe.each(codecs)('%s', (_, codec) => {
    const whole = goldenBytes('seed-8x512-768.bin');
    const half = codec.halve(codec.decode(whole)) as Buffer;

    test.each([['a record', whole, codec.decode] as const, ['a half', half, codec.decodeHalf] as const])(
      'of %s holds, and any bit that changes breaks it',
      (_, bytes, decode) => {
        const checksum = { seed, expected: codec.crc32c(bytes, seed) };
        expect(decode(bytes, checksum).rank).toBe(8);
        expect(() => decode(bytes, { seed: seed + 1, expected: checksum.expected })).toThrow(
          'the checksum does not match',
        );
        const random = seeded(1);
        for (const at of [
          8,
          30_000,
          bytes.length - 1,
          ...Array.from({ length: 40 }, () => Math.floor(random() * bytes.length)),
        ]) {
          const damaged = Buffer.from(bytes);
          damaged.writeUInt8((bytes[at % bytes.length] as number) ^ (1 << Math.floor(8 * random())), at % bytes.length);
          expect(() => decode(damaged, checksum)).toThrow(AdapterCorruptError);
        }
      },
    );

    test('says more than the NaN that an accident made', () => {
      const damaged = Buffer.from(whole);
      damaged.writeFloatLE(Number.NaN, 48);
      const checksum = { seed: 0, expected: codec.crc32c(whole, 0) };
      expect(() => codec.decode(damaged, checksum)).toThrow('the checksum does not match');
      const consistent = { seed: 0, expected: codec.crc32c(damaged, 0) };
      expect(() => codec.decode(damaged, consistent)).toThrow('a weight is NaN or infinite');
    });
  });
});
