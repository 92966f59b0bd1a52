/** What a tier holds of one adapter: a reading, and the body it is about. Immutable; a newer reading is a new entry. */
import type { AdapterRecord } from '../adapter/record.js';
import type { Reading } from '../coherence/head.js';

export interface Entry extends Reading {
  /** Undefined where `version` is 0: that there is no such adapter is an answer too. */
  readonly record: AdapterRecord | undefined;
  /** The row's updated_at, in ms since the epoch. */
  readonly updatedAt: number;
}

/** The same body, known to be the latest as of a newer reading. */
export function restamped(entry: Entry, reading: Reading): Entry {
  const { server, xid, verifiedAt, era } = reading;
  return { ...entry, server, xid, verifiedAt, era };
}
