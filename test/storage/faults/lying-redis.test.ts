/**
 * Redis that lies: whatever stands under a user's key, the load answers what Postgres holds. What is no entry of that key
 * is dropped, fetched again, counted and reported; what is one, but of another server, is asked about.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../../src/adapter/adapter.js';
import { decodeRecord, encodeAdapter } from '../../../src/adapter/codec.js';
import type { AdapterRecord } from '../../../src/adapter/record.js';
import { keyOf } from '../../../src/coherence/key.js';
import type { StorageEvents } from '../../../src/storage/events.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import type { Entry } from '../../../src/tiers/entry.js';
import { encodeEntry, fillToken, HEADER_BYTES } from '../../../src/tiers/redis-entry.js';
import { integerBelow, seeded } from '../../support/adapters.js';
import { redisUrl } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { RedisBytes } from './redis-bytes.js';
import { insertAdapters } from './support.js';

const bench = useStorage();
let redis: RedisBytes;

/** Bits flipped: all of the header, and some of the body behind it. */
const BODY_FLIPS = 128;
const FLIPS = 8 * HEADER_BYTES + BODY_FLIPS;
const LIES = 64;

interface Truth {
  readonly userId: string;
  readonly seed: number;
  /** What Redis rightly held of it. */
  readonly value: Buffer;
  readonly entry: Entry;
}
/** One for each lie, since a lie that was found is one no more. */
let truths: Truth[];

beforeAll(async () => {
  redis = new RedisBytes(redisUrl(), bench.namespace);
  // Nobody listens yet: whoever hears of a writer that knows no Redis clears the keys that are to be spoilt here.
  const users = await insertAdapters(bench, FLIPS + 2 * LIES);
  const filler = await bench.open({ memory: false });
  await filler.loadAdapters(users.map((userId) => ({ userId })));
  await filler.close();
  truths = await Promise.all(
    users.map(async (userId, seed) => {
      const [value, entry] = await Promise.all([redis.get(userId), redis.entry(userId)]);
      return { userId, seed, value: value ?? expect.fail('not filled'), entry: entry ?? expect.fail('not filled') };
    }),
  );
});
afterAll(() => redis?.raw.disconnect());

const nextTruth = () => truths.pop() ?? expect.fail('more lies than truths');

type Corrupt = StorageEvents['corrupt'][0];

async function openListener(): Promise<{ node: LoRAStorage; reports: Corrupt[] }> {
  const node = await bench.open({ memory: false });
  const reports: Corrupt[] = [];
  node.on('corrupt', (report) => reports.push(report));
  return { node, reports };
}

const isTrue = (loaded: unknown, { userId, seed }: Truth) =>
  loaded instanceof UserLoRAAdapter && encodeAdapter(loaded).equals(encodeAdapter(smallAdapter(userId, seed)));

const loadOne = (node: LoRAStorage, { userId }: Truth) => node.loadAdapter(userId);
/** Among others, of whom nothing is wrong. */
const loadMany = async (node: LoRAStorage, { userId }: Truth) =>
  (await node.loadAdapters([{ userId: (truths[0] as Truth).userId }, { userId }]))[1];

type Put = (name: string, truth: Truth) => Promise<unknown>;
const bytes =
  (lie: (truth: Truth) => Buffer | string): Put =>
  (name, truth) =>
    redis.raw.set(name, lie(truth));
const cut = (length: number) => bytes(({ value }) => value.subarray(0, length));

const lies: [what: string, put: Put][] = [
  ['nothing at all', bytes(() => '')],
  ['a word', bytes(() => 'garbage')],
  ['4 KB of noise', bytes(() => randomBytes(4096))],
  ['a magic number and no more', cut(4)],
  ['a header cut short', cut(20)],
  ['a header that lacks a byte', cut(HEADER_BYTES - 1)],
  ['a header without its body', cut(HEADER_BYTES)],
  ['a body of one byte', cut(HEADER_BYTES + 1)],
  ['a body that lacks a byte', bytes(({ value }) => value.subarray(0, -1))],
  ['a byte too many', bytes(({ value }) => Buffer.concat([value, Buffer.of(0)]))],
  ['half of it zeroed', bytes(({ value }) => Buffer.from(value).fill(0, value.length / 2))],
  ['a list', (name) => redis.raw.rpush(name, 'x')],
  ['a hash', (name) => redis.raw.hset(name, 'field', 'value')],
  ['a stream', (name) => redis.raw.xadd(name, '*', 'field', 'value')],
  ['the whole entry of another user', bytes(() => (truths[0] as Truth).value)],
  [
    'that another user has none',
    bytes(({ entry }) => encodeEntry(keyOf((truths[0] as Truth).userId, 'default'), absent(entry))),
  ],
  ['the entry of another adapter of his', bytes(({ userId, entry }) => encodeEntry(keyOf(userId, 'other'), entry))],
  ['an entry of a future format', bytes(({ value }) => Buffer.from(value).fill('LRS2', 0, 4, 'latin1'))],
  [
    'another user’s weights, well wrapped',
    bytes(({ userId, entry }) =>
      encodeEntry(keyOf(userId, 'default'), { ...entry, record: (truths[0] as Truth).entry.record }),
    ),
  ],
  [
    'a weight that is no number, well wrapped',
    bytes(({ userId, entry }) => encodeEntry(keyOf(userId, 'default'), withNaN(entry))),
  ],
];

function absent(entry: Entry): Entry {
  return { ...entry, version: 0, record: undefined, updatedAt: 0 };
}

function withNaN({ record, ...entry }: Entry): Entry {
  const spoilt = Buffer.from(record?.bytes ?? expect.fail('no record'));
  spoilt.writeFloatLE(Number.NaN, 48);
  return { ...entry, record: { ...record, bytes: spoilt } as AdapterRecord };
}

describe('bytes that are no entry of this key', () => {
  test.each(lies)('%s', async (_, put) => {
    for (const load of [loadOne, loadMany]) {
      const truth = nextTruth();
      const { userId, seed } = truth;
      const { node, reports } = await openListener();
      await redis.raw.del(redis.nameOf(userId));
      await put(redis.nameOf(userId), truth);
      expect(isTrue(await load(node, truth), truth)).toBe(true);
      expect(node.cacheStats().redis).toMatchObject({ corrupt: 1, errors: 0 });
      expect(reports).toEqual([{ userId, adapterName: 'default', tier: 'redis', reason: expect.any(String) }]);
      // Dropped at once; what takes its place is whole.
      if (load === loadMany) expect(isTrue(await loadOne(node, truth), truth)).toBe(true);
      await waitFor(() => redis.holds(userId, seed));
      expect(isTrue(await loadOne(node, truth), truth)).toBe(true);
      expect(node.cacheStats().redis).toMatchObject({ corrupt: 1, hits: load === loadMany ? 2 : 1 });
      await node.close();
    }
  });
});

test('a bit flipped, anywhere in the header and here and there in the body, is found', async () => {
  const spoilt = truths.splice(-FLIPS);
  const random = seeded(20_261_123);
  const bodyBits = 8 * ((spoilt[0] as Truth).value.length - HEADER_BYTES);
  await Promise.all(
    spoilt.map(({ userId, value }, i) => {
      const bit = i < 8 * HEADER_BYTES ? i : 8 * HEADER_BYTES + integerBelow(random, bodyBits);
      const flipped = Buffer.from(value);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      return redis.raw.set(redis.nameOf(userId), flipped);
    }),
  );
  const { node, reports } = await openListener();
  // Half of them one by one, half of them at once.
  const [single, many] = [spoilt.filter((_, i) => i % 2 === 0), spoilt.filter((_, i) => i % 2 === 1)];
  const answers = [
    ...(await Promise.all(single.map((truth) => loadOne(node, truth)))),
    ...(await node.loadAdapters(many.map(({ userId }) => ({ userId })))),
  ];
  const asked = [...single, ...many];
  expect(answers.map((answer, i) => isTrue(answer, asked[i] as Truth)).indexOf(false)).toBe(-1);
  expect(node.cacheStats().redis).toMatchObject({ corrupt: FLIPS, hits: 0, errors: 0 });
  expect(new Set(reports.map(({ userId }) => userId))).toEqual(new Set(asked.map(({ userId }) => userId)));
});

describe('a whole entry that is not true', () => {
  const ELSEWHERE = 1_700_000_000_000_001;
  const spoken: [what: string, lie: (entry: Entry) => Entry][] = [
    ['that there never was one', (entry) => ({ ...absent(entry), revision: 0 })],
    ['that it was deleted since', (entry) => ({ ...absent(entry), revision: entry.revision + 1 })],
    ['an older version of it', (entry) => ({ ...entry, revision: entry.revision - 1 })],
    ['a newer version of it', (entry) => ({ ...entry, revision: entry.revision + 1, version: 2 })],
  ];

  // Its stamp is of another server, as when staging and production share a Redis: that is not believed, but asked about.
  test.each(spoken)('%s, by another server', async (_, lie) => {
    for (const load of [loadOne, loadMany]) {
      const truth = nextTruth();
      const { userId, entry, seed } = truth;
      const told = lie({ ...entry, server: ELSEWHERE, xid: 2 ** 40 });
      const lying = told.record === undefined ? told : { ...told, record: recordOf(userId, seed + 1) };
      await redis.raw.set(redis.nameOf(userId), encodeEntry(keyOf(userId, 'default'), lying));
      for (const changeFeed of [true, false]) {
        const node = await bench.open({ changeFeed });
        expect(isTrue(await load(node, truth), truth)).toBe(true);
        expect(node.cacheStats().redis.corrupt).toBe(0);
        await node.close();
      }
      // It goes, unless it says to be newer than what Postgres knows: then the next save replaces it.
      if (told.revision > entry.revision) expect((await redis.entry(userId))?.revision).toBe(told.revision);
      else expect(await redis.holds(userId, seed)).toBe(true);
    }
  });

  test('nor does a reader’s token that nobody takes away keep anything from being filled', async () => {
    const { userId, seed } = nextTruth();
    await redis.raw.set(redis.nameOf(userId), fillToken(randomBytes(16)));
    const node = await bench.open();
    await node.loadAdapter(userId);
    await node.close();
    expect(await redis.holds(userId, seed)).toBe(true);
  });

  test('goes with the next save, however new it says to be', async () => {
    const { userId, entry } = nextTruth();
    const told = { ...absent(entry), revision: entry.revision + 1, server: ELSEWHERE };
    await redis.raw.set(redis.nameOf(userId), encodeEntry(keyOf(userId, 'default'), told));
    const node = await bench.open();
    await node.saveAdapter(smallAdapter(userId, 5000));
    await node.close();
    expect(await redis.holds(userId, 5000)).toBe(true);
  });
});

function recordOf(userId: string, seed: number) {
  return decodeRecord(encodeAdapter(smallAdapter(userId, seed)));
}
