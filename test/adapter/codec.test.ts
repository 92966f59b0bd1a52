/** The record, byte for byte: what the Rust crate wrote is read and written again by both implementations. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import {
  adoptRecord,
  crc32c,
  decodeAdapter,
  decodeRecord,
  encodeAdapter,
  encodeRecord,
} from '../../src/adapter/codec.js';
import { type AdapterRecord, type Codec, recordBytes } from '../../src/adapter/record.js';
import { InvalidAdapterError } from '../../src/errors.js';
import { bytesOf, codecs, fieldsOf, goldenBytes, goldenRecords, integerBelow, seeded } from '../support/adapters.js';

function encode(codec: Codec, record: AdapterRecord): Buffer {
  const target = Buffer.alloc(recordBytes(record.rank, record.inputDim, record.outputDim), 0xaa);
  expect(codec.encodeInto(target, record, record.trainingIterations)).toBe(-1);
  return target;
}

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0);
}

describe.each(codecs)('%s codec', (_, codec) => {
  test.each(goldenRecords)('reads and writes $file as the Rust crate does', (golden) => {
    const bytes = goldenBytes(golden.file);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(golden.sha256);

    const record = codec.decode(bytes);
    expect(record).toMatchObject({
      userId: golden.userId,
      rank: golden.rank,
      inputDim: golden.inputDim,
      outputDim: golden.outputDim,
      scalingFactor: golden.scalingFactor,
      trainingIterations: golden.trainingIterations,
    });
    expect(record.base).toHaveLength(golden.rank * golden.inputDim);
    expect(record.user).toHaveLength(golden.outputDim * golden.rank);
    expect(sum(record.base)).toBe(golden.baseLayerSum);
    expect(sum(record.user)).toBe(golden.userLayerSum);
    expect(record.base[0]).toBe(golden.baseLayerFirst);
    expect(record.user.at(-1)).toBe(golden.userLayerLast);
    expect(record.bytes.equals(bytes)).toBe(true);
    expect(record.bytes).toHaveLength(golden.bytes);
    expect(encode(codec, record).equals(bytes)).toBe(true);
  });

  test('a round trip of random shapes keeps every byte', () => {
    const random = seeded(7);
    for (let i = 0; i < 200; i++) {
      const [rank, inputDim, outputDim] = [1, 2, 3].map(() => 1 + integerBelow(random, 24)) as [number, number, number];
      const bytes = bytesOf(fieldsOf(rank, inputDim, outputDim, i));
      const record = codec.decode(bytes);
      expect(record).toMatchObject({ rank, inputDim, outputDim });
      expect(encode(codec, record).equals(bytes)).toBe(true);
    }
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7])('reads from and writes to memory that starts %i bytes off a word', (shift) => {
    const bytes = bytesOf(fieldsOf(3, 5, 7));
    const memory = Buffer.from(new ArrayBuffer(bytes.length + 8));
    const shifted = memory.subarray(shift, shift + bytes.length);
    bytes.copy(shifted);
    const record = codec.decode(shifted);
    expect(record.bytes.equals(bytes)).toBe(true);
    shifted.fill(0);
    expect(codec.encodeInto(shifted, record, record.trainingIterations)).toBe(-1);
    expect(shifted.equals(bytes)).toBe(true);
  });

  test('a record is a private copy: one buffer of its own, with aligned views over it', () => {
    const bytes = bytesOf(fieldsOf(2, 3, 4));
    const record = codec.decode(bytes);
    const before = Buffer.from(record.bytes);
    bytes.fill(0xff);
    expect(record.bytes.equals(before)).toBe(true);
    expect(record.bytes.buffer.byteLength).toBe(record.bytes.length);
    expect(record.base.buffer).toBe(record.bytes.buffer);
    expect(record.user.buffer).toBe(record.bytes.buffer);
  });

  test('the smallest and largest numbers come through: denormals, -0, f32 limits, 2^53 - 1 iterations', () => {
    const fields = fieldsOf(1, 3, 3);
    fields.base = Float32Array.of(-0, 2 ** -149, -(2 ** -149));
    fields.user = Float32Array.of(3.4028234663852886e38, -3.4028234663852886e38, 0);
    fields.scalingFactor = -0;
    fields.trainingIterations = 2n ** 53n - 1n;
    const bytes = bytesOf(fields);
    const record = codec.decode(bytes);
    expect(record.trainingIterations).toBe(2 ** 53 - 1);
    expect(record.base).toEqual(fields.base);
    expect(encode(codec, record).equals(bytes)).toBe(true);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('finds %d wherever it is', (bad) => {
    const record = codec.decode(bytesOf(fieldsOf(3, 17, 5)));
    const target = Buffer.alloc(record.bytes.length);
    const userAt = 72 + record.base.byteLength;
    for (let i = 0; i < record.base.length; i++) {
      const base = record.base.with(i, bad);
      expect(codec.encodeInto(target, { ...record, base }, 0)).toBe(48 + 4 * i);
    }
    for (let i = 0; i < record.user.length; i++) {
      const user = record.user.with(i, bad);
      expect(codec.encodeInto(target, { ...record, user }, 0)).toBe(userAt + 4 * i);
    }
  });
});

describe('adoptRecord', () => {
  const MOST = 58;
  const golden = goldenBytes('seed-8x512-768.bin');
  const checksum = { seed: 3, expected: crc32c(golden, 3) };
  /** These bytes in memory of their own, so far into it, with so much behind them. */
  const inMemory = (at: number, behind: number) => {
    const memory = Buffer.alloc(at + golden.length + behind);
    golden.copy(memory, at);
    return memory.subarray(at, at + golden.length);
  };

  test.each([
    ['alone', 0, 0],
    ['behind a header', 56, 2],
    ['with all that may be beside them', 0, MOST],
  ])('keeps the bytes themselves: %s', (_, at, behind) => {
    const bytes = inMemory(at, behind);
    const record = adoptRecord(bytes, MOST, checksum);
    expect(record).toEqual(decodeRecord(golden));
    expect(record.bytes).toBe(bytes);
    expect([record.base.buffer, record.user.buffer]).toEqual([bytes.buffer, bytes.buffer]);
  });

  test.each([
    ['where no float may lie', 57, 0],
    ['with one byte more beside them', 0, MOST + 1],
    ['in the middle of much else', 4096, 4096],
  ])('copies bytes %s', (_, at, behind) => {
    const bytes = inMemory(at, behind);
    const record = adoptRecord(bytes, MOST, checksum);
    expect(record).toEqual(decodeRecord(golden));
    expect(record.bytes.buffer.byteLength).toBe(golden.length);
    bytes.fill(0);
    expect(record.bytes.equals(golden)).toBe(true);
  });

  test('refuses what decodeRecord refuses, with the same words', () => {
    const bytes = inMemory(0, 0);
    bytes.writeFloatLE(Number.NaN, 48);
    for (const sum of [undefined, checksum]) {
      expect(() => adoptRecord(bytes, MOST, sum)).toThrow(thrownBy(() => decodeRecord(bytes, sum)));
    }
    const shared = Buffer.from(new SharedArrayBuffer(golden.length));
    expect(() => adoptRecord(shared, MOST)).toThrow('SharedArrayBuffer');
    expect(() => adoptRecord('bytes' as unknown as Buffer, MOST)).toThrow(InvalidAdapterError);
  });
});

function thrownBy(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

describe('adapters', () => {
  test.each(goldenRecords)('decode and encode $file', ({ file, ...golden }) => {
    const bytes = goldenBytes(file);
    const adapter = decodeAdapter(bytes);
    expect(adapter.userId).toBe(golden.userId);
    expect(adapter.trainingIterations).toBe(golden.trainingIterations);
    expect(encodeAdapter(adapter).equals(bytes)).toBe(true);
    // Once more without the record behind it: every field is written anew.
    expect(encodeAdapter(adapter.updateWeights(() => {})).equals(bytes)).toBe(true);
  });

  test('the default shape makes 41,052 bytes', () => {
    expect(encodeAdapter(new UserLoRAAdapter('0'.repeat(8).concat('-0000-0000-0000-', '0'.repeat(12))))).toHaveLength(
      41_052,
    );
  });

  test('an adapter whose weights were never written is encoded by patching a copy of its record', () => {
    const bytes = goldenBytes('small-4x16-32.bin');
    const adapter = decodeAdapter(bytes);
    adapter.trainingIterations = 2 ** 40 + 5;
    const encoded = encodeAdapter(adapter);
    const expected = Buffer.from(bytes);
    expected.writeBigUInt64LE(BigInt(2 ** 40 + 5), bytes.length - 8);
    expect(encoded.equals(expected)).toBe(true);
    expect(decodeAdapter(encoded).trainingIterations).toBe(2 ** 40 + 5);
    adapter.trainingIterations = 42;
    expect(encodeAdapter(adapter).equals(bytes)).toBe(true);
  });

  test('what encodeAdapter returns is the caller’s own', () => {
    const adapter = decodeAdapter(goldenBytes('odd-3x7-5.bin'));
    encodeAdapter(adapter).fill(0xff);
    expect(encodeAdapter(adapter).equals(goldenBytes('odd-3x7-5.bin'))).toBe(true);
  });

  test('encodeRecord gives the loaded record itself, and after an update one of the new weights', () => {
    const adapter = decodeAdapter(goldenBytes('odd-3x7-5.bin'));
    const loaded = encodeRecord(adapter);
    expect(encodeRecord(adapter)).toBe(loaded);
    expect(encodeRecord(adapter.clone())).toBe(loaded);
    adapter.updateWeights((base) => {
      base[3] = 0.5;
    });
    const updated = encodeRecord(adapter);
    expect(updated.base[3]).toBe(0.5);
    expect(decodeRecord(updated.bytes)).toEqual(updated);
    expect(loaded.base[3]).not.toBe(0.5);
  });

  test.each([
    ['base', 5, 'base layer, index 5'],
    ['user', 14, 'user layer, index 14'],
  ])('refuses to encode an infinite weight of the %s layer and says which', (layer, index, words) => {
    const adapter = decodeAdapter(goldenBytes('odd-3x7-5.bin'));
    adapter.updateWeights((base, user) => {
      (layer === 'base' ? base : user)[index] = Number.POSITIVE_INFINITY;
    });
    expect(() => encodeAdapter(adapter)).toThrow(InvalidAdapterError);
    expect(() => encodeAdapter(adapter)).toThrow(words);
  });

  test.each([-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY, '3' as unknown as number])(
    'refuses to encode %s training iterations',
    (iterations) => {
      const adapter = decodeAdapter(goldenBytes('odd-3x7-5.bin'));
      adapter.trainingIterations = iterations;
      expect(() => encodeAdapter(adapter)).toThrow(InvalidAdapterError);
      expect(() => encodeAdapter(adapter.updateWeights(() => {}))).toThrow('trainingIterations is an integer');
    },
  );

  test('refuses what is no adapter and no bytes', () => {
    expect(() => encodeAdapter({} as UserLoRAAdapter)).toThrow(InvalidAdapterError);
    for (const wrong of ['bytes', null, new ArrayBuffer(8), new Float32Array(4), [1, 2]]) {
      expect(() => decodeAdapter(wrong as unknown as Uint8Array)).toThrow(InvalidAdapterError);
      expect(() => crc32c(wrong as unknown as Uint8Array)).toThrow(InvalidAdapterError);
    }
    expect(() => decodeAdapter(new Uint8Array(new SharedArrayBuffer(100)))).toThrow('SharedArrayBuffer');
  });
});
