/**
 * The value under a Redis key: 48 bytes of header, then the bincode record (nothing, for an adapter that is absent).
 * docs/format.md has the table. The checksum also covers the key, so that a value copied under another key is refused.
 */

import { crc32c, decodeRecord } from '../adapter/codec.js';
import type { Key } from '../coherence/key.js';
import { AdapterCorruptError } from '../errors.js';
import type { Entry } from './entry.js';

export const HEADER_BYTES = 48;
/** The last letter is the format: a reader refuses one it does not know. */
const MAGIC = Buffer.from('LRS1');
const TOKEN_MAGIC = Buffer.from('LRT1');

const AT = { checksum: 4, revision: 8, xid: 16, server: 24, updatedAt: 32, version: 40, bodyBytes: 44 } as const;

/** Header and body in one buffer, as SET takes it. */
export function encodeEntry(key: Key, entry: Entry): Buffer {
  const body = entry.record?.bytes;
  const value = Buffer.allocUnsafe(HEADER_BYTES + (body?.length ?? 0));
  MAGIC.copy(value, 0);
  value.writeDoubleLE(entry.revision, AT.revision);
  value.writeDoubleLE(entry.xid, AT.xid);
  value.writeDoubleLE(entry.server, AT.server);
  value.writeDoubleLE(entry.updatedAt, AT.updatedAt);
  value.writeUInt32LE(entry.version, AT.version);
  value.writeUInt32LE(body?.length ?? 0, AT.bodyBytes);
  body?.copy(value, HEADER_BYTES);
  value.writeUInt32LE(checksum(key, value), AT.checksum);
  return value;
}

/** The entry in `value`; verifiedAt is unknown to Redis, hence never. Throws AdapterCorruptError. */
export function decodeEntry(key: Key, value: Buffer): Entry {
  if (value.length < HEADER_BYTES) throw new AdapterCorruptError('the Redis entry ends within its header');
  if (!value.subarray(0, 4).equals(MAGIC)) {
    throw new AdapterCorruptError('the Redis entry is of a format that this version does not know', { offset: 0 });
  }
  if (value.readUInt32LE(AT.bodyBytes) !== value.length - HEADER_BYTES) {
    throw new AdapterCorruptError('the Redis entry is not as long as its header says', { offset: AT.bodyBytes });
  }
  if (value.readUInt32LE(AT.checksum) !== checksum(key, value)) {
    throw new AdapterCorruptError('the checksum of the Redis entry does not match', { offset: AT.checksum });
  }
  const version = value.readUInt32LE(AT.version);
  const record = version === 0 ? undefined : decodeRecord(value.subarray(HEADER_BYTES));
  if (record && record.userId !== key.userId)
    throw new AdapterCorruptError('the adapter is another user’s', { offset: 8 });
  return {
    record,
    version,
    revision: value.readDoubleLE(AT.revision),
    xid: value.readDoubleLE(AT.xid),
    server: value.readDoubleLE(AT.server),
    updatedAt: value.readDoubleLE(AT.updatedAt),
    verifiedAt: Number.NEGATIVE_INFINITY,
    era: 0,
  };
}

/** Left under a missing key before Postgres is read; a fill succeeds only where it still stands. */
export function fillToken(random: Buffer): Buffer {
  return Buffer.concat([TOKEN_MAGIC, random]);
}

export function isFillToken(value: Buffer): boolean {
  return value.length < HEADER_BYTES && value.subarray(0, TOKEN_MAGIC.length).equals(TOKEN_MAGIC);
}

function checksum(key: Key, value: Buffer): number {
  return crc32c(value.subarray(AT.revision), crc32c(Buffer.from(key.id)));
}
