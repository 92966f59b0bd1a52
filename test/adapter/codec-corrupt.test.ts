/** Bytes that are no record: each is refused, for the same reason and at the same byte by both implementations. */
import { describe, expect, test } from 'vitest';
import { bytesOf, codecs, type Fields, fieldsOf, refusal, varintBytesOf } from '../support/adapters.js';

const TRUNCATED = 'the bytes end before the record does';
const WEIGHT_COUNT = 'a layer does not hold rows × columns weights';
const TOO_LARGE = 'a length is larger than 2^53 - 1';
const ZERO = 'a dimension is zero';
const VARINTS =
  "looks like a record written by bincode 2 (varint lengths); write it with bincode 1.3 or bincode 2's legacy() config";

// Where the fields of a record of rank 2, 3 → 4 begin: 24 bytes of A, 32 of B.
const AT = {
  idLength: 0,
  id: 8,
  baseRows: 24,
  baseCols: 32,
  baseCount: 40,
  base: 48,
  userRows: 72,
  userCols: 80,
  userCount: 88,
  user: 96,
  rank: 128,
  scalingFactor: 136,
  trainingIterations: 140,
  end: 148,
};
const starts = Object.values(AT);

describe.each(codecs)('%s codec', (_, codec) => {
  const valid = () => fieldsOf(2, 3, 4);

  test('every truncation names the field that is cut', () => {
    const bytes = bytesOf(valid());
    expect(bytes).toHaveLength(AT.end);
    expect(refusal(codec, bytes)).toBeUndefined();
    for (let length = 0; length < bytes.length; length++) {
      const field = starts.findLast((start) => start <= length);
      expect(refusal(codec, bytes.subarray(0, length)), `${length} bytes`).toEqual({
        reason: TRUNCATED,
        offset: field,
      });
    }
  });

  test('bytes behind the end are refused at the first of them', () => {
    for (const extra of [1, 4, 8, 1000]) {
      const bytes = Buffer.concat([bytesOf(valid()), Buffer.alloc(extra)]);
      expect(refusal(codec, bytes)).toEqual({ reason: 'bytes follow the end of the record', offset: AT.end });
    }
  });

  test('a user id of any other length is refused', () => {
    for (const idLength of [0n, 1n, 15n, 17n, 36n, 16n + 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      const reason = 'the user id is not 16 bytes long';
      expect(refusal(codec, bytesOf({ ...valid(), idLength }))).toEqual({ reason, offset: 0 });
    }
  });

  test.each([
    ['baseRows', 'baseCount', AT.baseRows],
    ['baseCols', 'baseCount', AT.baseCols],
    ['userRows', 'userCount', AT.userRows],
  ] as const)('%s: a wrong dimension is refused where it shows', (field, count, at) => {
    const cases: [bigint, string, number][] = [
      [0n, ZERO, at],
      [valid()[field] - 1n, WEIGHT_COUNT, AT[count]],
      [valid()[field] + 1n, WEIGHT_COUNT, AT[count]],
      [2n ** 31n, WEIGHT_COUNT, AT[count]],
      [2n ** 32n, WEIGHT_COUNT, AT[count]],
      [2n ** 53n - 1n, WEIGHT_COUNT, AT[count]],
      [2n ** 53n, TOO_LARGE, at],
      [2n ** 63n, TOO_LARGE, at],
      [2n ** 64n - 1n, TOO_LARGE, at],
    ];
    for (const [value, reason, offset] of cases) {
      expect(refusal(codec, bytesOf({ ...valid(), [field]: value })), `${value}`).toEqual({ reason, offset });
    }
  });

  test.each([
    ['baseCount', AT.baseCount],
    ['userCount', AT.userCount],
  ] as const)('%s: a wrong count of weights is refused', (field, offset) => {
    const count = valid()[field];
    for (const value of [0n, count - 1n, count + 1n, 2n * count, 2n ** 32n + count, 2n ** 53n - 1n]) {
      expect(refusal(codec, bytesOf({ ...valid(), [field]: value })), `${value}`).toEqual({
        reason: WEIGHT_COUNT,
        offset,
      });
    }
    for (const value of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect(refusal(codec, bytesOf({ ...valid(), [field]: value })), `${value}`).toEqual({
        reason: TOO_LARGE,
        offset,
      });
    }
  });

  test('lengths that agree with each other and promise more than there is allocate nothing', () => {
    const [baseRows, baseCols] = [2n ** 26n, 2n ** 26n];
    expect(refusal(codec, bytesOf({ ...valid(), baseRows, baseCols, baseCount: 2n ** 52n }))).toEqual({
      reason: TRUNCATED,
      offset: AT.base,
    });
    expect(refusal(codec, bytesOf({ ...valid(), userRows: 2n ** 40n, userCount: 2n ** 41n }))).toEqual({
      reason: TRUNCATED,
      offset: AT.user,
    });
  });

  test('a product of lengths that only agrees modulo 2^64 is refused', () => {
    // 2^52 · 2^12 is nothing in 64 bits: a multiplication that overflows would let it pass.
    const hostile = { ...valid(), baseRows: 2n ** 52n, baseCols: 2n ** 12n, baseCount: 0n };
    expect(refusal(codec, bytesOf(hostile))).toEqual({ reason: WEIGHT_COUNT, offset: AT.baseCount });
  });

  test('ranks that contradict each other are refused', () => {
    expect(refusal(codec, bytesOf({ ...valid(), userRows: 8n, userCols: 1n }))).toEqual({
      reason: 'the two layers differ in rank',
      offset: AT.userCols,
    });
    for (const rank of [0n, 1n, 3n, 2n ** 32n + 2n, 2n ** 53n + 2n, 2n ** 63n]) {
      const reason = 'the rank field differs from the rank of the layers';
      expect(refusal(codec, bytesOf({ ...valid(), rank }))).toEqual({ reason, offset: AT.rank });
    }
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%d is refused wherever it is', (bad) => {
    const reason = 'a weight is NaN or infinite';
    for (let i = 0; i < 6; i++) {
      const base = valid().base.with(i, bad);
      expect(refusal(codec, bytesOf({ ...valid(), base }))).toEqual({ reason, offset: AT.base + 4 * i });
    }
    for (let i = 0; i < 8; i++) {
      const user = valid().user.with(i, bad);
      expect(refusal(codec, bytesOf({ ...valid(), user }))).toEqual({ reason, offset: AT.user + 4 * i });
    }
    expect(refusal(codec, bytesOf({ ...valid(), scalingFactor: bad }))).toEqual({
      reason: 'scaling_factor is NaN or infinite',
      offset: AT.scalingFactor,
    });
  });

  test('every NaN is refused, quiet or signalling, with any payload', () => {
    for (const bits of [0x7fc00000, 0x7f800001, 0xffffffff, 0xff800001, 0x7fffffff]) {
      const bytes = bytesOf(valid());
      bytes.writeUInt32LE(bits, AT.user + 12);
      expect(refusal(codec, bytes)).toEqual({ reason: 'a weight is NaN or infinite', offset: AT.user + 12 });
    }
  });

  test('training_iterations beyond what a number holds are refused', () => {
    for (const trainingIterations of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect(refusal(codec, bytesOf({ ...valid(), trainingIterations }))).toEqual({
        reason: 'training_iterations is larger than 2^53 - 1',
        offset: AT.trainingIterations,
      });
    }
  });

  describe('a record that bincode 2 wrote is called that', () => {
    test.each([
      ['small', fieldsOf(2, 3, 4)],
      ['with lengths of two and four bytes', fieldsOf(8, 512, 9000)],
      [
        'whose user id begins with zeros, so that its first eight bytes read as 16',
        { ...fieldsOf(2, 3, 4), id: Buffer.alloc(16) },
      ],
    ] as [string, Fields][])('%s', (_name, fields) => {
      expect(refusal(codec, varintBytesOf(fields))).toEqual({ reason: VARINTS, offset: 0 });
    });

    test('and a damaged length of a fixed-width record is not', () => {
      expect(refusal(codec, bytesOf({ ...valid(), idLength: 0x1110n }))?.reason).toBe(
        'the user id is not 16 bytes long',
      );
    });
  });

  test('the message says deserialize and where', () => {
    expect(() => codec.decode(Buffer.alloc(3))).toThrow(/deserialize.*\(at byte 0\)/);
  });
});
