/** SonaEngine.trainAndPersist: rivals lose no update, and what cannot be trained on or saved says so and stays as it is. */
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { encodeAdapter } from '../../src/adapter/codec.js';
import type { LoRAStorageOptions } from '../../src/options.js';
import { SonaEngine } from '../../src/sona/engine.js';
import type { ContentEmbedding } from '../../src/sona/types.js';
import { UpdateUserLoRA } from '../../src/sona/update-user-lora.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { codeOf, proxyTo } from '../storage/faults/support.js';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { lessonFor } from './support.js';

const bench = useStorage();
const small = lessonFor({ inputDim: 3, outputDim: 4 }, 12);
const usual = lessonFor({ inputDim: 512, outputDim: 768 }, 12);

const train = (storage: LoRAStorage, userId: string, lesson = small, embedding: ContentEmbedding = lesson.embedding) =>
  SonaEngine.withDefaultConfig(storage).trainAndPersist(userId, lesson.events, embedding, lesson.preference);

const rowsOf = (userId: string) =>
  bench.sql<{ version: number; iterations: number }>(
    `select version, training_iterations as iterations from lora_adapters where user_id = $1 order by version`,
    [userId],
  );

/** A user whose version 1 is a small adapter. */
async function known(storage: LoRAStorage): Promise<string> {
  const userId = await bench.user();
  await storage.saveAdapter(smallAdapter(userId));
  return userId;
}

describe('a training', () => {
  test('of a new user begins an adapter of the default shape, and saves version 1', async () => {
    const storage = await bench.open();
    const userId = await bench.user();
    const { version, report } = await train(storage, userId, usual);
    expect([version, report.trained, report.events]).toEqual([1, true, 12]);
    const adapter = await storage.loadAdapter(userId);
    expect(adapter).toMatchObject({ rank: 8, inputDim: 512, outputDim: 768, trainingIterations: 1 });
    expect((await train(storage, userId, usual)).version).toBe(2);
    expect((await storage.loadAdapter(userId)).trainingIterations).toBe(2);
  });

  test('is that of UpdateUserLoRA on what was loaded, and what others hold of it stays', async () => {
    const storage = await bench.open();
    const userId = await known(storage);
    const held = await storage.loadAdapter(userId);
    const before = encodeAdapter(held);
    const expected = held.clone();
    const config = { learningRate: 0.01, epochs: 3 };
    const report = await UpdateUserLoRA.execute(expected, small.events, small.embedding, small.preference, config);
    const engine = new SonaEngine(storage, config);
    expect(await engine.trainAndPersist(userId, small.events, small.embedding, small.preference)).toEqual({
      version: 2,
      report,
    });
    expect(encodeAdapter(await storage.loadAdapter(userId))).toEqual(encodeAdapter(expected));
    expect(encodeAdapter(held)).toEqual(before);
  });

  test('takes the name it is given', async () => {
    const storage = await bench.open();
    const userId = await known(storage);
    await storage.saveAdapter(smallAdapter(userId), 'experimental');
    const engine = new SonaEngine(storage);
    await engine.trainAndPersist(userId, small.events, small.embedding, small.preference, 'experimental');
    expect((await storage.loadAdapter(userId, 'experimental')).trainingIterations).toBe(1);
    expect((await storage.loadAdapter(userId)).trainingIterations).toBe(0);
  });

  test('with too few events saves nothing, and tells the latest version', async () => {
    const storage = await bench.open();
    const [userId, nobody] = [await known(storage), await bench.user()];
    const few = { ...small, events: small.events.slice(0, 9) };
    const report = { trained: false, events: 9, lossPerEpoch: [] };
    expect(await train(storage, userId, few)).toEqual({ version: 1, report });
    expect(await train(storage, nobody, { ...few, preference: usual.preference })).toEqual({ version: 0, report });
    expect([await rowsOf(userId), await rowsOf(nobody)]).toEqual([[{ version: 1, iterations: 0 }], []]);
  });

  test('after a delete begins anew', async () => {
    const storage = await bench.open();
    const userId = await known(storage);
    await storage.deleteAdapter(userId);
    expect((await train(storage, userId, usual)).version).toBe(2);
    expect((await storage.loadAdapter(userId)).trainingIterations).toBe(1);
  });
});

describe('ten rivals for one user lose no update', () => {
  const options: [string, LoRAStorageOptions[]][] = [
    ['on one storage', [{}]],
    ['on two storages', [{}, {}]],
    ['on two without a change feed', [{ changeFeed: false }, { changeFeed: false }]],
    ['on one without memory and one without Redis', [{ memory: false }, { redis: false }]],
    ['on two that keep halves in Redis', [{ redisEncoding: 'f16' }, { redisEncoding: 'f16', memory: false }]],
  ];
  test.each(options)('%s', async (_, nodes) => {
    const storages = await Promise.all(nodes.map((node) => bench.open(node)));
    for (const known of [false, true]) {
      const userId = await bench.user();
      const lesson = known ? small : usual;
      if (known) await (storages[0] as LoRAStorage).saveAdapter(smallAdapter(userId));
      const trained = await Promise.all(
        Array.from({ length: 10 }, (_, i) => train(storages[i % storages.length] as LoRAStorage, userId, lesson)),
      );
      const first = known ? 2 : 1;
      const versions = Array.from({ length: 10 }, (_, i) => first + i);
      expect(trained.map(({ version }) => version).sort((a, b) => a - b)).toEqual(versions);
      expect((await rowsOf(userId)).at(-1)).toEqual({ version: versions.at(-1), iterations: 10 });
      // As soon as each has heard of it.
      for (const node of storages)
        await waitFor(async () => (await node.loadAdapter(userId)).trainingIterations === 10);
    }
  });

  test('and what they learn adds up: each trains on what the one before it saved', async () => {
    const storages = [await bench.open(), await bench.open()];
    const userId = await known(storages[0] as LoRAStorage);
    await Promise.all(Array.from({ length: 10 }, (_, i) => train(storages[i % 2] as LoRAStorage, userId)));
    // All of them train on the same events, so that their order does not count.
    const expected = smallAdapter(userId);
    for (let i = 0; i < 10; i++)
      await UpdateUserLoRA.execute(expected, small.events, small.embedding, small.preference);
    const [row] = await bench.sql<{ weights: Buffer }>(
      'select weights from lora_adapters where user_id = $1 and version = 11',
      [userId],
    );
    expect(row?.weights).toEqual(encodeAdapter(expected));
  });
});

test('who was overtaken trains again on what the other saved, without asking for embeddings again', async () => {
  const [storage, other] = [await bench.open(), await bench.open()];
  const userId = await known(storage);
  let asked = 0;
  // 1. Version 1 is loaded, and its embeddings are asked for. 2. Somebody saves version 2. 3. They come.
  const { version } = await train(storage, userId, small, async (contentId) => {
    if (asked++ === 0) await other.saveAdapter((await other.loadAdapter(userId)).clone());
    return small.embedding(contentId);
  });
  expect([version, asked]).toEqual([3, 12]);
  // Of another base layer, though, what is known of the old one is of no use.
  asked = 0;
  const anew = await train(storage, userId, small, async (contentId) => {
    if (asked++ === 0) await other.saveAdapter(smallAdapter(userId, 2));
    return small.embedding(contentId);
  });
  expect([anew.version, asked]).toEqual([5, 24]);
  const expected = smallAdapter(userId, 2);
  await UpdateUserLoRA.execute(expected, small.events, small.embedding, small.preference);
  expect(encodeAdapter(await storage.loadAdapter(userId))).toEqual(encodeAdapter(expected));
});

describe('an adapter that is deleted while it is trained stays deleted', () => {
  const deletions: [string, (storage: LoRAStorage, userId: string) => Promise<unknown>][] = [
    ['deleteAdapter', (storage, userId) => storage.deleteAdapter(userId)],
    ['forgetUser', (storage, userId) => storage.forgetUser(userId)],
  ];
  for (const [name, remove] of deletions) {
    test.each(['this', 'another'])(`by ${name} on %s node`, async (where) => {
      const storage = await bench.open();
      const remover = where === 'this' ? storage : await bench.open();
      const userId = await bench.user();
      // Of the shape that one which is begun anew would have.
      await storage.saveAdapter(new UserLoRAAdapter(userId).initializeRandom(1));
      let asked = 0;
      // 1. Version 1 is loaded, and its embeddings are asked for. 2. Somebody deletes it. 3. They come, and it is saved.
      const training = train(storage, userId, usual, async (contentId) => {
        if (asked++ === 0) await remove(remover, userId);
        return usual.embedding(contentId);
      });
      expect(await codeOf(training)).toBe('ADAPTER_NOT_FOUND');
      expect(await rowsOf(userId)).toEqual([]);
      expect(await storage.countAdapters(userId)).toBe(0);
    });
  }

  test('also where the training began without one, and met another trainer’s first', async () => {
    const [storage, other] = [await bench.open(), await bench.open()];
    const userId = await bench.user();
    let round = 0;
    // 1. There is none: one is begun. 2. The other saves version 1: a conflict. 3. Version 1 is loaded, and, its base layer
    // being another one, its embeddings are asked for. 4. It is deleted. 5. What was trained is saved.
    const training = train(storage, userId, usual, async (contentId) => {
      if (contentId === 'c0' && ++round === 1) await other.saveAdapter(new UserLoRAAdapter(userId).initializeRandom(1));
      else if (contentId === 'c0') await other.deleteAdapter(userId);
      return usual.embedding(contentId);
    });
    expect(await codeOf(training)).toBe('ADAPTER_NOT_FOUND');
    expect([round, await rowsOf(userId)]).toEqual([2, []]);
  });
});

test('who is overtaken every time gives up after 25 attempts, and says by which version', async () => {
  const storage = await bench.open();
  const userId = await known(storage);
  const overtaking = await bench.open();
  let attempts = 0;
  const embedding: ContentEmbedding = async (contentId) => {
    if (contentId === 'c0') {
      attempts++;
      // Another base layer each time, so that every attempt asks for embeddings.
      await overtaking.saveAdapter(smallAdapter(userId, 1 + attempts));
    }
    return small.embedding(contentId);
  };
  await expect(train(storage, userId, small, embedding)).rejects.toMatchObject({
    code: 'VERSION_CONFLICT',
    expectedVersion: 25,
    actualVersion: 26,
  });
  expect(attempts).toBe(25);
});

describe('is refused, with nothing saved', () => {
  test('on bytes that are no adapter: they are not overwritten', async () => {
    const storage = await bench.open();
    const userId = await bench.user();
    await bench.sql(
      `insert into lora_adapters (user_id, version, weights, size_bytes) values ($1, 1, '\\xdeadbeef', 4)`,
      [userId],
    );
    expect(await codeOf(train(storage, userId, usual))).toBe('ADAPTER_CORRUPT');
    expect(await rowsOf(userId)).toEqual([{ version: 1, iterations: 0 }]);
  });

  test('for a user without a row', async () => {
    const storage = await bench.open();
    expect(await codeOf(train(storage, randomUUID(), usual))).toBe('USER_NOT_FOUND');
  });

  test('on bad input, before anything is loaded or asked for', async () => {
    const storage = await bench.open();
    const userId = await known(storage);
    const engine = new SonaEngine(storage);
    const never: ContentEmbedding = () => expect.fail('asked for');
    const bad = small.events.with(2, { contentId: 'c', completionRate: 7 });
    expect(await codeOf(engine.trainAndPersist(userId, bad, never, small.preference))).toBe('INVALID_ADAPTER');
    expect(await codeOf(engine.trainAndPersist('me', small.events, never, small.preference))).toBe('INVALID_ADAPTER');
    expect(await codeOf(engine.trainAndPersist(userId, small.events, never, small.preference, ''))).toBe(
      'INVALID_ADAPTER',
    );
    expect(await codeOf(engine.trainAndPersist(userId, small.events, never, usual.preference))).toBe('INVALID_ADAPTER');
    expect(() => new SonaEngine(storage, { epochs: 0 })).toThrow('epochs');
    expect(await rowsOf(userId)).toHaveLength(1);
  });

  test('without an embedding', async () => {
    const storage = await bench.open();
    const userId = await known(storage);
    expect(await codeOf(train(storage, userId, small, () => Promise.reject(new Error('gone'))))).toBe(
      'EMBEDDING_UNUSABLE',
    );
    expect(await rowsOf(userId)).toHaveLength(1);
  });
});

describe('redisEncoding f16', () => {
  test('trains the weights as they were saved, not what Redis has of them', async () => {
    const saver = await bench.open({ redisEncoding: 'f16' });
    const userId = await bench.user();
    await saver.saveAdapter(new UserLoRAAdapter(userId).initializeRandom(1));
    const node = await bench.open({ redisEncoding: 'f16' });
    await waitFor(
      async () => (await (await bench.open({ redisEncoding: 'f16' })).loadAdapterInfo(userId)).tier === 'redis',
    );
    expect((await node.loadAdapterInfo(userId)).tier).toBe('redis');
    await train(node, userId, usual);
    const expected = new UserLoRAAdapter(userId).initializeRandom(1);
    await UpdateUserLoRA.execute(expected, usual.events, usual.embedding, usual.preference);
    expect(encodeAdapter(await node.loadAdapter(userId))).toEqual(encodeAdapter(expected));
  });
});

describe('with Postgres away', () => {
  test('a stale copy is not trained on', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const storage = await bench.open({
      postgres: proxy.url(bench.postgresUrl),
      maxStalenessMs: 300,
      postgresTimeoutMs: 500,
    });
    const userId = await known(storage);
    proxy.mute();
    await waitFor(async () => (await storage.loadAdapterInfo(userId)).stale);
    expect(await codeOf(train(storage, userId, small, () => expect.fail('asked for')))).toBe('STORAGE_UNAVAILABLE');
    proxy.heal();
    await waitFor(async () => !(await storage.loadAdapterInfo(userId)).stale);
    expect((await train(storage, userId)).version).toBe(2);
    await storage.close();
    await proxy.close();
  });

  test('a save whose outcome is not known is not repeated', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const storage = await bench.open({
      postgres: { primary: proxy.url(bench.postgresUrl), direct: bench.postgresUrl },
      redis: redisUrl(),
    });
    const userId = await known(storage);
    let asked = 0;
    const training = train(storage, userId, small, (contentId) => {
      // What is sent from here on arrives, and is not answered.
      if (++asked === 1) proxy.mute('answers');
      return small.embedding(contentId);
    });
    const outcome = codeOf(training);
    await waitFor(async () => (await rowsOf(userId)).length === 2);
    proxy.cut();
    expect(await outcome).toBe('SAVE_OUTCOME_UNKNOWN');
    proxy.heal();
    await waitFor(async () => (await storage.loadAdapterInfo(userId)).version === 2);
    expect([(await rowsOf(userId)).at(-1), asked]).toEqual([{ version: 2, iterations: 1 }, 12]);
    await storage.close();
    await proxy.close();
  });
});
