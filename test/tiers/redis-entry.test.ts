/** The value under a Redis key: whole and for this key, or refused. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { AdapterCorruptError } from '../../src/errors.js';
import { decodeEntry, encodeEntry, fillToken, HEADER_BYTES, isFillToken } from '../../src/tiers/redis-entry.js';
import { absentOf, entryOf, gist, newKey, recordOf } from './support.js';

const key = newKey('production');
const entry = entryOf(key, 1_790_000_000_000_001, { version: 3, record: recordOf(key, 9) });
const value = encodeEntry(key, entry);

const refused = (bytes: Buffer, as = key) => expect(() => decodeEntry(as, bytes)).toThrow(AdapterCorruptError);

test('what is written is read: body, versions, stamp; when it was verified stays with the node that did', () => {
  const read = decodeEntry(key, value);
  expect(gist(read)).toEqual(gist(entry));
  const { xid, server, updatedAt } = entry;
  expect(read).toMatchObject({ xid, server, updatedAt, verifiedAt: Number.NEGATIVE_INFINITY, era: 0 });
  expect(value.length).toBe(HEADER_BYTES + (entry.record?.bytes.length ?? 0));
});

test('that there is no adapter is an entry of a header alone', () => {
  const absent = encodeEntry(key, absentOf(7));
  expect(absent.length).toBe(HEADER_BYTES);
  expect(decodeEntry(key, absent)).toMatchObject({ version: 0, revision: 7, record: undefined });
});

test('every bit flipped, in the header and all through the body, is refused', () => {
  const bits = value.length * 8;
  // All of the header, and every bit of the body too: it is a small one.
  for (let bit = 0; bit < bits; bit++) {
    const bytes = Buffer.from(value);
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    refused(bytes);
  }
});

test('every bit flipped of an absent adapter is refused: an absence is no less an answer', () => {
  const absent = encodeEntry(key, absentOf(7));
  for (let bit = 0; bit < absent.length * 8; bit++) {
    const bytes = Buffer.from(absent);
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    refused(bytes);
  }
});

test('every truncation and every trailing byte is refused', () => {
  for (let length = 0; length < value.length; length++) refused(value.subarray(0, length));
  refused(Buffer.concat([value, Buffer.of(0)]));
});

test('a value copied under another key is refused: another user, another name, a name that shares its letters', () => {
  for (const other of [newKey('production'), newKey('experimental', key.userId), newKey('productio', key.userId)]) {
    refused(value, other);
  }
});

test('a body that is another user’s is refused though the checksum is right', () => {
  const stranger = newKey();
  const mixed = encodeEntry(key, { ...entry, record: recordOf(stranger) });
  expect(() => decodeEntry(key, mixed)).toThrow(/another user/);
});

test('an entry of a format that is not known yet is refused by name', () => {
  const future = Buffer.from(value);
  future.write('LRS2', 0, 'latin1');
  expect(() => decodeEntry(key, future)).toThrow(/format that this version does not know/);
});

test('the entry shares no memory with what was read', () => {
  const bytes = Buffer.from(value);
  const read = decodeEntry(key, bytes);
  bytes.fill(0xff);
  expect(gist(read)).toEqual(gist(entry));
});

test('a fill token is no entry and an entry is no token', () => {
  const token = fillToken(randomBytes(16));
  expect(isFillToken(token)).toBe(true);
  refused(token);
  expect([value, encodeEntry(key, absentOf(1)), Buffer.from('?'), Buffer.alloc(0)].map(isFillToken)).toEqual([
    false,
    false,
    false,
    false,
  ]);
});
