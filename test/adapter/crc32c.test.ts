/** CRC-32C four times over: in TypeScript, in C++ from tables, by the CPU's instruction and by folding, and bit by bit here. */
import { describe, expect, test } from 'vitest';
import { crc32c } from '../../src/adapter/codec.js';
import { crc32cPortable } from '../../src/adapter/crc32c.js';
import { addon, integerBelow, seeded } from '../support/adapters.js';

/** The definition: a polynomial division, one bit at a time. */
function bitByBit(bytes: Uint8Array, seed: number): number {
  let crc = ~seed;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const native = addon();

describe.each([
  ['portable', crc32cPortable],
  ['native', native.crc32c],
  ...['folding', 'instruction', 'tables']
    .filter((way) => native.crc32c(new Uint8Array(0), 0, way) !== undefined)
    .map((way): [string, typeof crc32cPortable] => [
      `native by ${way}`,
      (bytes, seed = 0) => native.crc32c(bytes, seed, way) as number,
    ]),
  ['chosen', crc32c],
])('%s', (_, checksum) => {
  const counting = Uint8Array.from({ length: 32 }, (_, index) => index);

  // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
  test.each([
    ['nothing', new Uint8Array(0), 0],
    ['123456789', Buffer.from('123456789'), 0xe3069283],
    ['32 zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 bytes of ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['0 to 31', counting, 0x46dd794e],
    ['31 to 0', counting.toReversed(), 0x113fdb5c],
  ])('knows the published value of %s', (_name, bytes, expected) => {
    expect(checksum(bytes, 0)).toBe(expected);
  });

  test('equals the definition at every length to 700, at lengths around whole lanes, at every alignment, for any seed', () => {
    const random = seeded(3);
    const memory = Uint8Array.from({ length: 8192 }, () => integerBelow(random, 256));
    const lengths = [...Array(700).keys(), 1535, 1536, 1537, 3071, 3072, 3080, 5000, 7777];
    for (const length of lengths) {
      const start = integerBelow(random, 16);
      const seed = integerBelow(random, 2 ** 32);
      const bytes = memory.subarray(start, start + length);
      expect(checksum(bytes, seed), `${length} bytes at ${start}`).toBe(bitByBit(bytes, seed));
    }
  });

  test('the checksum of a part is the seed of the next', () => {
    const random = seeded(4);
    const bytes = Uint8Array.from({ length: 4000 }, () => integerBelow(random, 256));
    for (const cut of [0, 1, 7, 1536, 3999, 4000]) {
      expect(checksum(bytes.subarray(cut), checksum(bytes.subarray(0, cut), 0))).toBe(checksum(bytes, 0));
    }
  });

  test('sees every single flipped bit of a small record', () => {
    const bytes = new Uint8Array(100).fill(0x5a);
    const whole = checksum(bytes, 0);
    for (let bit = 0; bit < 800; bit++) {
      const mask = 1 << (bit & 7);
      bytes[bit >> 3] = 0x5a ^ mask;
      expect(checksum(bytes, 0)).not.toBe(whole);
      bytes[bit >> 3] = 0x5a;
    }
  });
});
