/** The two names of an adapter: what is accepted is exactly what Postgres can store and give back. */
import { describe, expect, test } from 'vitest';
import { parseAdapterName, parseUserId, userIdFromBytes, userIdToBytes } from '../../src/adapter/user-id.js';
import { InvalidAdapterError } from '../../src/errors.js';

const ID = '01234567-89ab-cdef-0123-456789abcdef';

describe('parseUserId', () => {
  test.each([
    ID,
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '0190163d-8694-739b-aea5-966c26f8ad91',
  ])('takes %s: any 128 bits, whatever version they claim', (id) => {
    expect(parseUserId(id)).toBe(id);
  });

  test('lowers the case', () => {
    expect(parseUserId(ID.toUpperCase())).toBe(ID);
    expect(parseUserId('01234567-89aB-CDef-0123-456789abCDEF')).toBe(ID);
  });

  test.each([
    '',
    'default',
    ID.slice(1),
    `${ID}0`,
    `${ID}\n`,
    ` ${ID}`,
    `{${ID}}`,
    `urn:uuid:${ID}`,
    ID.replaceAll('-', ''),
    ID.replace('-', '_'),
    ID.replace('0', 'g'),
    ID.replace('0', '٠'),
    '0123456-789ab-cdef-0123-456789abcdef',
    undefined,
    null,
    42,
    Buffer.from(ID),
    { toString: () => ID },
  ])('refuses %j', (value) => {
    expect(() => parseUserId(value)).toThrow(InvalidAdapterError);
    expect(() => parseUserId(value)).toThrow('32 hexadecimal digits');
  });

  test('an error never repeats what was given', () => {
    expect(() => parseUserId('secret-token')).toThrow(expect.not.objectContaining({ message: /secret/ }));
    expect(() => parseUserId('secret-token')).toThrow('a string of length 12');
  });
});

describe('user id bytes', () => {
  test('are in the order they are written in, and come back', () => {
    const bytes = Buffer.alloc(20);
    userIdToBytes(ID, bytes, 2);
    expect(bytes.toString('hex')).toBe('00000123456789abcdef0123456789abcdef0000');
    expect(userIdFromBytes(bytes, 2)).toBe(ID);
  });

  test('every byte at every place', () => {
    for (let byte = 0; byte < 256; byte++) {
      const bytes = Buffer.from(Array.from({ length: 16 }, (_, place) => (byte + 17 * place) % 256));
      const copy = Buffer.alloc(16);
      userIdToBytes(userIdFromBytes(bytes, 0), copy, 0);
      expect(copy).toEqual(bytes);
      expect(userIdFromBytes(bytes, 0).replaceAll('-', '')).toBe(bytes.toString('hex'));
    }
  });
});

describe('parseAdapterName', () => {
  test.each([
    ['one character', 'a'],
    ['100 characters', 'x'.repeat(100)],
    ['100 characters above U+FFFF, 200 units long', '🦜'.repeat(100)],
    ['100 characters that take three bytes each', '字'.repeat(100)],
    ['spaces and quotes', ` it's "mine" `],
    ['control characters other than NUL', 'a\n\t\u0001'],
  ])('takes %s', (_, name) => {
    expect(parseAdapterName(name)).toBe(name);
  });

  test.each([
    ['an empty string', ''],
    ['101 characters', 'x'.repeat(101)],
    ['101 characters, one of them above U+FFFF', `${'x'.repeat(100)}🦜`],
    ['101 characters above U+FFFF', '🦜'.repeat(101)],
    ['nothing', undefined],
    ['null', null],
    ['a number', 7],
    ['an array', ['default']],
  ])('refuses %s', (_, name) => {
    expect(() => parseAdapterName(name)).toThrow(InvalidAdapterError);
    expect(() => parseAdapterName(name)).toThrow('1 to 100 characters');
  });

  test.each([
    ['NUL', 'a\0b'],
    ['a high surrogate alone', 'a\ud83e'],
    ['a low surrogate alone', '\udd9cb'],
    ['a pair the wrong way round', '\udd9c\ud83e'],
  ])('refuses %s, which Postgres cannot store', (_, name) => {
    expect(() => parseAdapterName(name)).toThrow(InvalidAdapterError);
    expect(() => parseAdapterName(name)).toThrow('neither NUL');
  });
});
