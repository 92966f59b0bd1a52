/** Keys and entries for the tests of the tiers, and events written down. */
import { randomUUID } from 'node:crypto';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { encodeRecord } from '../../src/adapter/codec.js';
import type { AdapterRecord } from '../../src/adapter/record.js';
import { type Key, keyOf } from '../../src/coherence/key.js';
import type { Entry } from '../../src/tiers/entry.js';

export function newKey(adapterName = 'default', userId: string = randomUUID()): Key {
  return keyOf(userId, adapterName);
}

/** A valid record of that user; `inputDim` decides its size. */
export function recordOf(key: Key, seed = 1, inputDim = 3): AdapterRecord {
  return encodeRecord(new UserLoRAAdapter(key.userId, { rank: 2, inputDim, outputDim: 4 }).initializeRandom(seed));
}

export function entryOf(key: Key, revision: number, more: Partial<Entry> = {}): Entry {
  const verified = { server: 1_700_000_000_000_001, xid: 700 + revision, verifiedAt: revision, era: 1 };
  return {
    record: recordOf(key, revision),
    version: revision,
    revision,
    updatedAt: 1_800_000_000_123,
    ...verified,
    ...more,
  };
}

export function absentOf(revision: number): Entry {
  const verified = { server: 1, xid: 700, verifiedAt: revision, era: 1 };
  return { record: undefined, version: 0, revision, updatedAt: 0, ...verified };
}

/** What tells two stored entries apart. */
export function gist(entry: Entry | undefined) {
  return entry && { revision: entry.revision, version: entry.version, bytes: entry.record?.bytes.toString('base64') };
}
