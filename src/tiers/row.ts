/** What Postgres answers about one adapter, primary or replica, as an entry: the body is whole and this user's, or the fault is told. */
import { crc32c } from '../adapter/codec.js';
import type { AdapterRecord } from '../adapter/record.js';
import type { Reading } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
import { AdapterCorruptError } from '../errors.js';
import { type Entry, entryOf, restamped } from './entry.js';
import type { BodyColumn, LoadRow, ReplicaRow } from './statements.js';

/** `held` with a new stamp where its revision still stands; what the row brings otherwise. */
export function entryOfRow(
  key: Key,
  held: Entry | undefined,
  [revision, version, updatedAt, body, checksum]: LoadRow | ReplicaRow,
  seen: Pick<Reading, 'server' | 'xid' | 'verifiedAt' | 'era'>,
): Entry | AdapterCorruptError {
  const reading: Reading = { revision: revision ?? 0, version: version ?? 0, ...seen };
  if (held !== undefined && held.revision === reading.revision) return restamped(held, reading);
  if (reading.version === 0) return entryOf(reading, undefined, 0);
  const record = checked(key, reading.version, body, checksum);
  return record instanceof AdapterCorruptError ? record : entryOf(reading, record, updatedAt ?? 0);
}

/** Whether a body came with it: not where it is the one that was held, or there is none. */
export function bringsBody(entry: Entry, held: Entry | undefined): boolean {
  return entry.record !== undefined && entry.record !== held?.record;
}

/** The body if it is this user's and what was saved; its fault, with whose body it is, otherwise. */
export function checked(
  key: Key,
  version: number,
  body: BodyColumn,
  checksum: number | null,
): AdapterRecord | AdapterCorruptError {
  const where = `'${key.adapterName}' version ${version} of user ${key.userId}`;
  if (body === null) return new AdapterCorruptError('its head names a version that has no row', { where });
  if (body instanceof AdapterCorruptError) {
    const { reason, offset } = body;
    return new AdapterCorruptError(reason, { where, cause: body, ...(offset === undefined ? {} : { offset }) });
  }
  if (body.userId !== key.userId) {
    return new AdapterCorruptError('the user id inside the bytes is not the one asked for', { where, offset: 8 });
  }
  // A second look at the bytes, of 2 µs: while they were copied the column behind them was not yet read.
  if (checksum !== null && crc32c(body.bytes) !== checksum) {
    return new AdapterCorruptError('the checksum does not match', { where });
  }
  return body;
}
