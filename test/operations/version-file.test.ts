import { expect, test } from 'vitest';
import { crc32c } from '../../src/adapter/codec.js';
import { AdapterCorruptError, encodeAdapter } from '../../src/index.js';
import { packVersion, pathOf, type StoredVersion, unpackVersion } from '../../src/operations/version-file.js';
import { smallAdapter } from '../support/storage.js';

const USER = '00000000-0000-0000-0000-0000000000aa';

function stored(adapterName = 'default'): StoredVersion {
  const createdAt = '2025-01-31T12:00:00.123456Z';
  const updatedAt = '2025-02-01T00:00:00.000001Z';
  const bytes = encodeAdapter(smallAdapter(USER));
  return { userId: USER, adapterName, version: 7, trainingIterations: 3, createdAt, updatedAt, bytes };
}

const NAMES = [
  'default',
  'Default',
  'con',
  'a.',
  '../../etc',
  'a/b',
  'a\\b',
  '.',
  '..',
  '-rf',
  ' ',
  'é',
  'e\u0301',
  '\n',
  '😀'.repeat(100),
];

test('a version comes back as it was, whatever its name', () => {
  for (const name of NAMES)
    expect(unpackVersion(pathOf(stored(name)), packVersion(stored(name)))).toEqual(stored(name));
});

test('paths differ, also where case is folded, fit every file system, and stay below their directory', () => {
  const folders = NAMES.map((name) => pathOf(stored(name)).split('/'));
  for (const parts of folders) {
    expect(parts).toEqual([USER, expect.stringMatching(/^[a-z0-9_][a-z0-9_-]{0,99}$/), '7.lora']);
    expect(parts[1]).not.toMatch(/^(con|\.+)$/);
  }
  expect(new Set(folders.map(([, folder]) => folder)).size).toBe(NAMES.length);
});

test('every flipped byte and every missing one is noticed', () => {
  const path = pathOf(stored());
  const file = packVersion(stored());
  for (let at = 0; at < file.length; at++) {
    const flipped = Buffer.from(file);
    flipped[at] = (flipped[at] as number) ^ 0x20;
    expect(() => unpackVersion(path, flipped), `byte ${at}`).toThrow(AdapterCorruptError);
    expect(() => unpackVersion(path, file.subarray(0, at)), `cut at ${at}`).toThrow(AdapterCorruptError);
  }
});

test.each([
  ['another user inside', { userId: USER.replace('aa', 'bb') }, /user id inside the bytes/],
  ['a name too long', { adapterName: 'x'.repeat(101) }, /adapter name/],
  ['version 0', { version: 0 }, /whole one from 1/],
  ['a version beyond the column', { version: 2 ** 31 }, /whole one from 1/],
  ['a time that is none', { createdAt: '2025-13-45T00:00:00.000000Z' }, /a time is not like/],
  ['a day that is none', { createdAt: '2025-02-30T00:00:00.000000Z' }, /a time is not like/],
  ['a time before year 1, which Postgres has not', { updatedAt: '0000-01-01T00:00:00.000000Z' }, /a time is not like/],
  ['an hour that is none', { updatedAt: '2025-01-01T24:00:00.000000Z' }, /a time is not like/],
  ['a version behind which no save has a number', { version: 2 ** 31 - 1 }, /whole one from 1 to 2000000000/],
  ['a time of another kind', { updatedAt: 5 }, /a time is not like/],
])('a checksum that fits does not help: %s', (_, wrong, words) => {
  const facts = { ...stored(), ...wrong } as StoredVersion;
  expect(() => unpackVersion(pathOf(stored()), packVersion(facts))).toThrow(words);
});

test('the first and the last moment that is written is read, and so is the last version', () => {
  const times = { createdAt: '0001-01-01T00:00:00.000000Z', updatedAt: '9999-12-31T23:59:59.999999Z' };
  const facts = { ...stored(), ...times, version: 2_000_000_000 };
  expect(unpackVersion(pathOf(facts), packVersion(facts))).toEqual(facts);
});

test('a second line that is no JSON, or no object, is said to be that', () => {
  for (const line of ['{"userId":\n', 'null\n', '']) {
    const body = Buffer.from(line);
    const file = Buffer.concat([Buffer.from(`lora-store 1 ${crc32c(body).toString(16).padStart(8, '0')}\n`), body]);
    expect(() => unpackVersion('x.lora', file)).toThrow(/its second line/);
  }
});

test('a file that lies where another belongs is refused, below whatever directory', () => {
  const file = packVersion(stored());
  expect(unpackVersion(`./backup/${pathOf(stored())}`, file)).toEqual(stored());
  for (const path of [pathOf(stored('other')), `${USER}/default/8.lora`, `x${pathOf(stored())}`]) {
    expect(() => unpackVersion(path, file)).toThrow(/it belongs at/);
  }
});
