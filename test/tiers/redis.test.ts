/** The Redis tier on a real Redis: each rule of the fence by the interleaving it is made for, and what an outage costs. */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Key } from '../../src/coherence/key.js';
import type { Entry } from '../../src/tiers/entry.js';
import { RedisTier } from '../../src/tiers/redis.js';
import { connectRedis, type RedisConnections } from '../../src/tiers/redis-client.js';
import { encodeEntry, HEADER_BYTES } from '../../src/tiers/redis-entry.js';
import { redisNamespace, redisUrl } from '../support/redis.js';
import { absentOf, entryOf, gist, newKey, recordOf } from './support.js';

/** Generous: what is tested here is not how long Redis takes. */
const LIMITS = { timeoutMs: 5000, ttlMs: 100_000 };

let connections: RedisConnections;
let raw: Redis;
let tier: RedisTier;
let corrupt: { key: Key; reason: string }[];

beforeAll(async () => {
  connections = await connectRedis(redisUrl(), LIMITS.timeoutMs);
  raw = new Redis(redisUrl());
});
afterAll(async () => {
  raw?.disconnect();
  await connections?.close();
});
beforeEach(() => {
  corrupt = [];
  tier = makeTier(connections.client);
});
afterEach(() => expect(tier.errors).toBe(0));

function makeTier(client: Redis | RedisConnections['client'], namespace = redisNamespace()): RedisTier {
  return new RedisTier(
    client,
    { namespace, ...LIMITS },
    {
      corrupt: (key, reason) => corrupt.push({ key, reason }),
      degraded: () => undefined,
      recovered: () => undefined,
    },
  );
}

const heldBy = async (key: Key) => gist((await tier.read(key)).entry);
const stored = (key: Key) => raw.getBuffer(tier.redisKey(key));

/** What a load does that finds nothing: the token over which its fill may go. */
async function miss(key: Key): Promise<Buffer> {
  const { entry, seen } = await tier.read(key);
  expect(entry).toBeUndefined();
  const token = seen ?? (await tier.claim(key));
  return token instanceof Buffer ? token : expect.fail('no token');
}

async function sight(key: Key): Promise<Buffer> {
  return (await tier.read(key)).seen ?? expect.fail('nothing seen');
}

describe('a record that was read', () => {
  const big = (key: Key, revision: number) => entryOf(key, revision, { record: recordOf(key, revision, 4096) });
  /** What lies around a reply that came alone. */
  const AROUND = HEADER_BYTES + 10;
  const beside = ({ record }: Entry) => (record ? record.bytes.buffer.byteLength - record.bytes.length : 0);

  async function written(count: number): Promise<Entry[]> {
    const keys = Array.from({ length: count }, () => newKey());
    const entries = keys.map((key, i) => big(key, i + 1));
    await Promise.all(keys.map((key, i) => tier.write(key, entries[i] as Entry)));
    return entries;
  }

  const keyIn = (entry: Entry) => newKey('default', entry.record?.userId);
  const readAlone = async (entry: Entry) => (await tier.read(keyIn(entry))).entry ?? expect.fail('nothing read');

  test('alone lies in the memory of the reply: nothing was copied', async () => {
    const [entry] = (await written(1)) as [Entry];
    const read = await readAlone(entry);
    expect(gist(read)).toEqual(gist(entry));
    expect(read.record?.bytes.byteOffset).toBeGreaterThanOrEqual(HEADER_BYTES);
    expect(beside(read)).toBeLessThanOrEqual(AROUND);
  });

  test('among many keeps none of the others in memory, and stays what it is, whatever comes after it', async () => {
    const entries = await written(64);
    const together = await Promise.all(entries.map(readAlone));
    const batch = (await tier.readMany(entries.map(keyIn))).map(({ entry }) => entry ?? expect.fail('nothing read'));
    const others = await written(64);
    await Promise.all(others.map(readAlone));
    for (const read of [together, batch]) {
      expect(read.map(gist)).toEqual(entries.map(gist));
      expect(Math.max(...read.map(beside))).toBeLessThanOrEqual(AROUND);
    }
  });

  test('stays when a small reply that came with it is transferred away', async () => {
    const [entry] = (await written(1)) as [Entry];
    const small = tier.redisKey(newKey());
    // Of each length that moves the record to another place in the memory that both may share.
    for (let length = 1; length < 12; length++) {
      await raw.set(small, 'x'.repeat(length));
      const client = connections.client as Redis;
      const [reply, read] = await Promise.all([client.getBuffer(small), readAlone(entry)]);
      structuredClone(reply?.buffer, { transfer: [reply?.buffer as ArrayBuffer] });
      expect(gist(read)).toEqual(gist(entry));
    }
  });
});

describe('fill', () => {
  test('goes over the token that the miss left, and lives as long as it should', async () => {
    const key = newKey();
    await tier.fill(key, await miss(key), entryOf(key, 1));
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 1)));
    const ttl = await raw.pttl(tier.redisKey(key));
    expect(ttl).toBeGreaterThan(0.85 * LIMITS.ttlMs);
    expect(ttl).toBeLessThanOrEqual(1.1 * LIMITS.ttlMs);
    expect(tier.fenced).toBe(0);
  });

  test('that an adapter is absent is kept as well', async () => {
    const key = newKey();
    await tier.fill(key, await miss(key), absentOf(3));
    expect(await heldBy(key)).toEqual(gist(absentOf(3)));
  });

  test('slow loader: read, deleted and cleared elsewhere, fill is refused', async () => {
    const key = newKey();
    const seen = await miss(key);
    await tier.clear(key, 2);
    await tier.fill(key, seen, entryOf(key, 1));
    expect(await stored(key)).toBeNull();
    expect(tier.fenced).toBe(1);
  });

  test('slow loader: read, saved elsewhere, fill is refused', async () => {
    const key = newKey();
    const seen = await miss(key);
    await tier.write(key, entryOf(key, 2));
    await tier.fill(key, seen, entryOf(key, 1));
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 2)));
  });

  test('slow loader: Redis was flushed meanwhile, fill is refused', async () => {
    const key = newKey();
    const seen = await miss(key);
    await raw.del(tier.redisKey(key));
    await tier.fill(key, seen, entryOf(key, 1));
    expect(await stored(key)).toBeNull();
  });

  test('two readers share the token of the first; one fill succeeds, the second finds it gone', async () => {
    const key = newKey();
    const [a, b] = [await miss(key), await miss(key)];
    expect(a.equals(b)).toBe(true);
    await tier.fill(key, a, entryOf(key, 2));
    await tier.fill(key, b, entryOf(key, 1));
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 2)));
    expect(tier.fenced).toBe(1);
  });

  test('goes over exactly the entry that was seen', async () => {
    const key = newKey();
    await tier.write(key, entryOf(key, 1));
    const seen = await sight(key);
    await tier.fill(key, seen, entryOf(key, 3));
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 3)));
    await tier.fill(key, seen, entryOf(key, 2));
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 3)));
  });
});

describe('claim', () => {
  test('leaves a token for three seconds where nothing is, and nothing where something is', async () => {
    const key = newKey();
    const token = await tier.claim(key);
    expect(await stored(key)).toEqual(token);
    expect(await raw.pttl(tier.redisKey(key))).toBeLessThanOrEqual(3000);
    expect(await tier.claim(key)).toBe('taken');
    await tier.write(key, entryOf(key, 1));
    expect(await tier.claim(key)).toBe('taken');
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 1)));
  });
});

describe('write', () => {
  test('goes over what is older, over tokens and over the same revision; never over what is newer', async () => {
    const key = newKey();
    await tier.claim(key);
    for (const revision of [1, 2, 2]) await tier.write(key, entryOf(key, revision));
    await tier.write(key, entryOf(key, 1));
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 2)));
    expect(tier.fenced).toBe(1);
  });

  test('compares revisions as numbers, as large as they are', async () => {
    const key = newKey();
    const [older, newer] = [1_790_000_000_000_001, 1_790_000_000_000_002];
    await tier.write(key, entryOf(key, newer, { version: 2 }));
    await tier.write(key, entryOf(key, older, { version: 1 }));
    expect((await heldBy(key))?.revision).toBe(newer);
    await tier.write(key, entryOf(key, newer + 1, { version: 3 }));
    expect((await heldBy(key))?.revision).toBe(newer + 1);
  });
});

describe('clear', () => {
  test('removes what is older and tokens, and nothing else', async () => {
    const key = newKey();
    await tier.write(key, entryOf(key, 2));
    for (const revision of [1, 2]) await tier.clear(key, revision);
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 2)));
    await tier.clear(key, 3);
    expect(await stored(key)).toBeNull();
    await tier.claim(key);
    await tier.clear(key, 1);
    expect(await stored(key)).toBeNull();
  });

  test('compares revisions as numbers, as large as they are', async () => {
    const key = newKey();
    await tier.write(key, entryOf(key, 1_790_000_000_000_001, { version: 1 }));
    await tier.clear(key, 1_790_000_000_000_001);
    expect(await stored(key)).not.toBeNull();
    await tier.clear(key, 1_790_000_000_000_002);
    expect(await stored(key)).toBeNull();
  });
});

describe('restamp', () => {
  test('changes the stamp of the entry that was seen; body and lifetime go on', async () => {
    const key = newKey();
    const entry = entryOf(key, 1);
    await tier.write(key, entry);
    await raw.pexpire(tier.redisKey(key), 5000);
    await tier.restamp(key, await sight(key), { ...entry, xid: 9999 });
    expect((await tier.read(key)).entry).toMatchObject({ xid: 9999, revision: 1, record: { userId: key.userId } });
    expect(await raw.pttl(tier.redisKey(key))).toBeLessThanOrEqual(5000);
    expect(corrupt).toEqual([]);
  });

  test('never of another entry: replaced, removed, or restamped by somebody else meanwhile', async () => {
    const key = newKey();
    const entry = entryOf(key, 1);
    await tier.write(key, entry);
    const seen = await sight(key);
    await tier.restamp(key, seen, { ...entry, xid: 9000 });
    await tier.restamp(key, seen, { ...entry, xid: 8000 });
    expect((await tier.read(key)).entry?.xid).toBe(9000);
    await tier.write(key, entryOf(key, 2));
    await tier.restamp(key, seen, { ...entry, xid: 9999 });
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 2)));
    await tier.clear(key, 3);
    await tier.restamp(key, seen, entry);
    expect(await stored(key)).toBeNull();
    expect([tier.fenced, corrupt.length]).toEqual([3, 0]);
  });
});

describe('bytes that are no entry of this key', () => {
  const flipped = (key: Key) => {
    const value = encodeEntry(key, entryOf(key, 1));
    value[value.length - 1] = (value.at(-1) as number) ^ 1;
    return value;
  };

  test.each<[what: string, put: (name: string, key: Key) => Promise<unknown>]>([
    ['garbage', (name) => raw.set(name, 'garbage')],
    ['nothing at all', (name) => raw.set(name, '')],
    ['a truncated entry', (name, key) => raw.set(name, encodeEntry(key, entryOf(key, 1)).subarray(0, 100))],
    ['one bit flipped', (name, key) => raw.set(name, flipped(key))],
    ['the entry of another', (name) => raw.set(name, encodeEntry(newKey(), entryOf(newKey(), 1)))],
    ['a future format', (name, key) => raw.set(name, encodeEntry(key, entryOf(key, 1)).fill('LRS2', 0, 4))],
    ['a list', (name) => raw.rpush(name, 'x')],
    ['a hash', (name) => raw.hset(name, 'f', 'v')],
  ])('are reported, counted and dropped by read, and by readMany: %s', async (_, put) => {
    const reads = [(key: Key) => tier.read(key), async (key: Key) => (await tier.readMany([newKey(), key]))[1]];
    for (const [i, read] of reads.entries()) {
      const key = newKey();
      await put(tier.redisKey(key), key);
      expect((await read(key))?.entry).toBeUndefined();
      expect(await stored(key)).toBeNull();
      expect(corrupt.map((event) => event.key.id)[i]).toBe(key.id);
      expect(tier.corrupt).toBe(i + 1);
      await tier.fill(key, await miss(key), entryOf(key, 2));
      expect(await heldBy(key)).toEqual(gist(entryOf(key, 2)));
    }
  });

  test('what was refused is dropped only while it still stands', async () => {
    // Between a reader's GET and its DROP somebody has saved: the script is what decides.
    const key = newKey();
    await tier.write(key, entryOf(key, 2));
    const seen = Buffer.from('garbage');
    const scripts = connections.client as unknown as { loraDrop(key: string, seen: Buffer): Promise<number> };
    expect(await scripts.loraDrop(tier.redisKey(key), seen)).toBe(0);
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 2)));
  });

  test('a save goes over garbage and over a wrong type', async () => {
    for (const put of [(name: string) => raw.set(name, 'garbage'), (name: string) => raw.rpush(name, 'x')]) {
      const key = newKey();
      await put(tier.redisKey(key));
      await tier.write(key, entryOf(key, 1));
      expect(await heldBy(key)).toEqual(gist(entryOf(key, 1)));
    }
  });
});

describe('many', () => {
  test('readMany answers each key in order, and leaves a token where nothing was', async () => {
    const keys = [newKey(), newKey(), newKey('other'), newKey()] as const;
    await tier.write(keys[1], entryOf(keys[1], 5));
    await tier.write(keys[2], absentOf(6));
    const answers = await tier.readMany(keys);
    expect(answers.map(({ entry }) => entry?.revision)).toEqual([undefined, 5, 6, undefined]);
    expect(tier.misses).toBe(2);
    for (const i of [0, 3] as const) {
      await tier.fill(keys[i], answers[i]?.seen ?? expect.fail('no token'), entryOf(keys[i], 7));
      expect(await heldBy(keys[i])).toEqual(gist(entryOf(keys[i], 7)));
    }
    expect(await tier.readMany([])).toEqual([]);
  });

  test('forgetUser removes everything of that user and nothing of others, however many there are', async () => {
    const mine = Array.from({ length: 1500 }, (_, i) => `name ${i}*?[]\\`);
    const user = newKey();
    const stranger = newKey();
    await tier.write(stranger, entryOf(stranger, 1));
    await raw.mset(mine.flatMap((name) => [tier.redisKey(newKey(name, user.userId)), 'x']));
    const elsewhere = makeTier(connections.client).redisKey(user);
    await raw.set(elsewhere, 'x', 'PX', 60_000);
    await tier.forgetUser(user.userId);
    expect(await raw.exists(...mine.map((name) => tier.redisKey(newKey(name, user.userId))))).toBe(0);
    expect(await heldBy(stranger)).toEqual(gist(entryOf(stranger, 1)));
    expect(await raw.exists(elsewhere)).toBe(1);
  });

  test('a client of the caller’s that puts a prefix before every key is served and forgotten as well', async () => {
    const keyPrefix = `${redisNamespace()}[*]:`;
    const client = new Redis(redisUrl(), { keyPrefix });
    tier = makeTier(client);
    const key = newKey();
    await tier.write(key, entryOf(key, 1));
    expect(await raw.exists(keyPrefix + tier.redisKey(key))).toBe(1);
    expect(await heldBy(key)).toEqual(gist(entryOf(key, 1)));
    await tier.forgetUser(key.userId);
    expect(await raw.exists(keyPrefix + tier.redisKey(key))).toBe(0);
    client.disconnect();
  });
});
