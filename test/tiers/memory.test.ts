/** The memory tier: what it keeps, what it drops, and that it forgets what it dropped. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { Key } from '../../src/coherence/key.js';
import { MemoryTier } from '../../src/tiers/memory.js';
import { absentOf, entryOf, newKey, recordOf } from './support.js';

const SIZE = recordOf(newKey()).bytes.length;

describe('bytes', () => {
  test('the least recently used leaves for the newest', () => {
    const memory = new MemoryTier(3 * SIZE);
    const [a, b, c, d] = [newKey(), newKey(), newKey(), newKey()];
    for (const key of [a, b, c]) memory.put(key, entryOf(key, 1));
    memory.get(a.userId, a.adapterName);
    memory.put(d, entryOf(d, 1));
    expect([a, b, c, d].map((key) => memory.get(key.userId, key.adapterName)?.revision)).toEqual([1, undefined, 1, 1]);
    expect(memory).toMatchObject({ entries: 3, bytes: 3 * SIZE, evictions: 1 });
  });

  test('an entry that is replaced by one of another size is counted at its new size', () => {
    const memory = new MemoryTier(100 * SIZE);
    const key = newKey();
    memory.put(key, absentOf(1));
    const small = memory.bytes;
    memory.put(key, entryOf(key, 2));
    expect(memory.bytes).toBe(SIZE);
    memory.put(key, entryOf(key, 3, { record: recordOf(key, 3, 300) }));
    expect(memory.bytes).toBe(recordOf(key, 3, 300).bytes.length);
    memory.put(key, absentOf(4));
    expect(memory).toMatchObject({ bytes: small, entries: 1, evictions: 0 });
    expect(memory.get(key.userId, key.adapterName)?.revision).toBe(4);
  });

  test('absent adapters that come to exist do not push the tier over its bound', () => {
    const memory = new MemoryTier(10 * 8_000);
    const keys = Array.from({ length: 100 }, () => newKey());
    for (const key of keys) memory.put(key, absentOf(1));
    for (const key of keys) memory.put(key, entryOf(key, 2, { record: recordOf(key, 2, 900) }));
    const held = keys.map((key) => memory.get(key.userId, key.adapterName)).filter((entry) => entry !== undefined);
    const bytes = held.reduce((sum, entry) => sum + (entry.record?.bytes.length ?? 0), 0);
    expect(bytes).toBeLessThanOrEqual(80_000);
    expect(memory.bytes).toBe(bytes);
    expect(held.length).toBeGreaterThan(0);
  });

  test('what is larger than the whole tier is not kept, and what it replaces is gone', () => {
    const memory = new MemoryTier(SIZE);
    const key = newKey();
    const large = recordOf(key, 1, 300);
    expect(memory.put(key, entryOf(key, 1, { record: large }))).toBeUndefined();
    expect(memory.put(key, entryOf(key, 2))?.revision).toBe(2);
    expect(memory.put(key, entryOf(key, 3, { record: large }))).toBeUndefined();
    expect(memory.get(key.userId, key.adapterName)).toBeUndefined();
    expect(memory).toMatchObject({ entries: 0, bytes: 0 });
    expect(memory.put(key, entryOf(key, 4))?.revision).toBe(4);
  });
});

describe('fence', () => {
  test('an older revision never replaces a newer one', () => {
    const memory = new MemoryTier(1e6);
    const key = newKey();
    memory.put(key, entryOf(key, 2));
    expect(memory.put(key, entryOf(key, 1))?.revision).toBe(2);
    expect(memory.put(key, absentOf(1))?.revision).toBe(2);
    expect(memory.get(key.userId, key.adapterName)?.revision).toBe(2);
    expect(memory.put(key, absentOf(3))?.version).toBe(0);
    expect(memory.get(key.userId, key.adapterName)).toMatchObject({ revision: 3, version: 0 });
  });

  test('of one revision the reading verified later is kept', () => {
    const memory = new MemoryTier(1e6);
    const key = newKey();
    memory.put(key, entryOf(key, 1, { verifiedAt: 10, xid: 10 }));
    memory.put(key, entryOf(key, 1, { verifiedAt: 20, xid: 20 }));
    memory.put(key, entryOf(key, 1, { verifiedAt: 15, xid: 15 }));
    expect(memory.get(key.userId, key.adapterName)).toMatchObject({ verifiedAt: 20, xid: 20 });
  });

  test('weights that are held as they were saved do not give way to the rounded ones of the same revision', () => {
    const memory = new MemoryTier(1e6);
    const key = newKey();
    const [exact, newer] = [recordOf(key, 1), recordOf(key, 2)];
    memory.put(key, entryOf(key, 1, { record: { ...exact, rounded: true } }));
    memory.put(key, entryOf(key, 1, { record: exact, verifiedAt: 10 }));
    memory.put(key, entryOf(key, 1, { record: { ...exact, rounded: true }, verifiedAt: 20 }));
    expect(memory.get(key.userId, key.adapterName)).toMatchObject({ verifiedAt: 20 });
    expect(memory.get(key.userId, key.adapterName)?.record).toBe(exact);
    memory.put(key, entryOf(key, 2, { record: { ...newer, rounded: true } }));
    expect(memory.get(key.userId, key.adapterName)?.record?.rounded).toBe(true);
  });

  test('an unverified entry keeps its body and gives way to any reading that is not older', () => {
    const memory = new MemoryTier(1e6);
    const key = newKey();
    const entry = entryOf(key, 2, { verifiedAt: 20 });
    memory.put(key, entry);
    memory.unverify(key);
    expect(memory.get(key.userId, key.adapterName)).toMatchObject({ server: 0, revision: 2, record: entry.record });
    expect(entry.server).not.toBe(0);
    memory.put(key, entryOf(key, 1));
    expect(memory.get(key.userId, key.adapterName)?.server).toBe(0);
    memory.put(key, entryOf(key, 2, { verifiedAt: 10 }));
    expect(memory.get(key.userId, key.adapterName)).toMatchObject({ verifiedAt: 10, server: entry.server });
    memory.unverify(newKey());
  });

  test('dropBelow drops what is older and nothing else', () => {
    const memory = new MemoryTier(1e6);
    const key = newKey();
    const other = newKey('other', key.userId);
    memory.put(key, entryOf(key, 2));
    memory.put(other, entryOf(other, 1));
    memory.dropBelow(key, 2);
    expect(memory.get(key.userId, key.adapterName)?.revision).toBe(2);
    memory.dropBelow(key, 3);
    expect(memory.get(key.userId, key.adapterName)).toBeUndefined();
    expect(memory.get(other.userId, other.adapterName)?.revision).toBe(1);
    expect(memory).toMatchObject({ entries: 1, bytes: SIZE, evictions: 0 });
  });
});

test('forgetUser drops every name of that user and of no other', () => {
  const memory = new MemoryTier(1e6);
  const key = newKey();
  const stranger = newKey();
  for (const name of ['a', 'b', 'c']) memory.put(newKey(name, key.userId), entryOf(key, 1));
  memory.put(stranger, entryOf(stranger, 1));
  memory.forgetUser(key.userId);
  memory.forgetUser(key.userId);
  expect(memory).toMatchObject({ entries: 1, bytes: SIZE });
  expect(memory.get(stranger.userId, 'default')?.revision).toBe(1);
});

test('however an entry leaves, nothing of it stays behind', () => {
  setFlagsFromString('--expose_gc');
  const collect = runInNewContext('gc') as () => void;
  const heap = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const memory = new MemoryTier(1e6);
  const leavings: ((key: Key) => unknown)[] = [
    (key) => memory.dropBelow(key, 2),
    (key) => memory.forgetUser(key.userId),
    // Larger than the whole tier.
    (key) => memory.put(key, { ...absentOf(2), record: { ...large, userId: key.userId } }),
    () => undefined,
  ];
  const large = recordOf(newKey(), 1, 70_000);
  const before = heap();
  for (let i = 0; i < 100_000; i++) {
    const key = newKey();
    memory.put(key, absentOf(1));
    leavings[i % leavings.length]?.(key);
  }
  expect(memory.entries).toBeGreaterThan(0);
  expect(memory.bytes).toBeLessThanOrEqual(1e6);
  memory.clear();
  expect(memory).toMatchObject({ entries: 0, bytes: 0 });
  // A hundred bytes for each that had stayed would be ten times this.
  expect(heap() - before).toBeLessThan(1e6);
});
