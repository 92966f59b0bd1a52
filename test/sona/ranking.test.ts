/** SonaEngine.rank: the best first, ties and what has no score where they were, and a page whatever the storage does. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { SonaEngine } from '../../src/sona/engine.js';
import type { Candidate } from '../../src/sona/types.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { codeOf, proxyTo } from '../storage/faults/support.js';
import { randomVector, seeded } from '../support/adapters.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { separableLesson } from './support.js';

const bench = useStorage();
const random = seeded(6);
const preference = randomVector(random, 4);
const candidates: Candidate[] = Array.from({ length: 30 }, (_, i) => ({
  id: `c${i}`,
  embedding: randomVector(random, 3),
}));
const inOrder = candidates.map(({ id }) => ({ id, score: 0 }));

let storage: LoRAStorage;
let engine: SonaEngine;
beforeAll(async () => {
  storage = await bench.open();
  engine = new SonaEngine(storage);
});

async function known(adapter = (userId: string) => smallAdapter(userId)): Promise<string> {
  const userId = await bench.user();
  await storage.saveAdapter(adapter(userId));
  return userId;
}

/** y = x for one dimension: a candidate's score is its number. */
const identity = (userId: string) =>
  new UserLoRAAdapter(userId, { rank: 1, inputDim: 1, outputDim: 1, alpha: 1 }).updateWeights((base, user) => {
    base.fill(1);
    user.fill(1);
  });
const scored = (...scores: number[]): Candidate[] =>
  scores.map((score, i) => ({ id: `c${i}`, embedding: Float32Array.of(score) }));

/** The fallbacks that this node told of a user. */
function fallbacksOf(node: LoRAStorage, userId: string): string[] {
  const codes: string[] = [];
  node.on('fallback', (event) => {
    if (event.userId === userId) codes.push((event.cause as { code?: string }).code ?? String(event.cause));
  });
  return codes;
}

describe('the order', () => {
  test('is by descending score, as the adapter scores them', async () => {
    const userId = await known();
    const ranked = await engine.rank(userId, candidates, preference);
    const adapter = await storage.loadAdapter(userId);
    const expected = candidates
      .map(({ id, embedding }) => ({ id, score: adapter.scoreMany(embedding, preference)[0] as number }))
      .sort((a, b) => b.score - a.score);
    expect(ranked).toEqual(expected);
    expect(ranked.map(({ id }) => id)).not.toEqual(candidates.map(({ id }) => id));
  });

  test.each([
    ['ties keep theirs', [1, 2, 1, 2, 1, 2], [1, 3, 5, 0, 2, 4]],
    ['a zero is as large as a negative one', [-0, 0, -0, 1], [3, 0, 1, 2]],
    [
      'infinite scores are scores',
      [1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2, Number.POSITIVE_INFINITY],
      [1, 4, 3, 0, 2],
    ],
    ['a NaN keeps its place, and the others pass it', [1, Number.NaN, 3, Number.NaN, 2], [2, 1, 4, 3, 0]],
    ['nothing but NaN', [Number.NaN, Number.NaN, Number.NaN], [0, 1, 2]],
    ['one', [5], [0]],
  ])('%s', async (_, scores, order) => {
    const ranked = await engine.rank(await known(identity), scored(...scores), Float32Array.of(1));
    expect(ranked.map(({ id }) => id)).toEqual(order.map((i) => `c${i}`));
    // Kept with its own score, whatever its place.
    expect(ranked.map(({ score }) => score + 0)).toEqual(order.map((i) => (scores[i] as number) + 0));
  });

  test('of ties is kept in long lists, too', async () => {
    const scores = Array.from({ length: 2000 }, (_, i) => (i * 7) % 3);
    const ranked = await engine.rank(await known(identity), scored(...scores), Float32Array.of(1));
    const expected = [2, 1, 0].flatMap((score) => scores.flatMap((s, i) => (s === score ? [`c${i}`] : [])));
    expect(ranked.map(({ id }) => id)).toEqual(expected);
  });

  test('of no candidates is none', async () => {
    expect(await engine.rank(await known(), [], preference)).toEqual([]);
  });

  test('is another one after training: what the user liked comes first', async () => {
    const userId = await bench.user();
    const lesson = separableLesson({ inputDim: 512, outputDim: 768 });
    const untrained = new UserLoRAAdapter(userId).initializeRandom(1).updateWeights((_, user) => user.fill(0));
    await storage.saveAdapter(untrained);
    const shown = [...lesson.embeddings].reverse().map(([id, embedding]) => ({ id, embedding }));
    const before = await engine.rank(userId, shown, lesson.preference);
    expect(before.map(({ id }) => id)).toEqual(shown.map(({ id }) => id));
    await engine.trainAndPersist(userId, lesson.events, lesson.embedding, lesson.preference);
    const after = await engine.rank(userId, shown, lesson.preference);
    expect(after.slice(0, 10).map(({ id }) => id.replace(/\d+/, ''))).toEqual(Array(10).fill('liked'));
  });

  test('is of the candidates as they were handed in', async () => {
    const userId = await known(identity);
    const shown = scored(1, 2, 3);
    const ranking = engine.rank(userId, shown, Float32Array.of(1));
    for (const { embedding } of shown.splice(1)) (embedding as Float32Array).fill(-9);
    expect((await ranking).map(({ id }) => id)).toEqual(['c2', 'c1', 'c0']);
  });
});

describe('the order given', () => {
  test('for a user whom nobody knows', async () => {
    const userId = randomUUID();
    const fallbacks = fallbacksOf(storage, userId);
    expect(await engine.rank(userId, candidates, preference)).toEqual(inOrder);
    expect(fallbacks).toEqual(['ADAPTER_NOT_FOUND']);
    expect(await engine.rank(await known(), candidates, preference, 'other')).toEqual(inOrder);
  });

  test('where the bytes are no adapter', async () => {
    const userId = await bench.user();
    await bench.sql(`insert into lora_adapters (user_id, version, weights, size_bytes) values ($1, 1, '\\xde', 1)`, [
      userId,
    ]);
    const fallbacks = fallbacksOf(storage, userId);
    expect(await engine.rank(userId, candidates, preference)).toEqual(inOrder);
    expect(fallbacks).toEqual(['ADAPTER_CORRUPT']);
  });

  test('while Postgres is away; what memory has is ranked with all the same', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const node = await bench.open({ postgres: proxy.url(bench.postgresUrl), postgresTimeoutMs: 500, redis: false });
    const [cold, warm] = [await known(), await known()];
    const expected = await new SonaEngine(node).rank(warm, candidates, preference);
    proxy.mute();
    const fallbacks = fallbacksOf(node, cold);
    expect(await new SonaEngine(node).rank(cold, candidates, preference)).toEqual(inOrder);
    expect(fallbacks).toEqual(['STORAGE_UNAVAILABLE']);
    expect(await new SonaEngine(node).rank(warm, candidates, preference)).toEqual(expected);
    proxy.heal();
    await waitFor(async () => (await new SonaEngine(node).rank(cold, candidates, preference))[0]?.score !== 0);
    await node.close();
    await proxy.close();
  });
});

describe('refuses', () => {
  const of = (length: number) => ({ id: 'x', embedding: new Float32Array(length) });
  test.each([
    ['a user id that is none', ['me', candidates, preference], 'user id'],
    ['candidates that are no array', [undefined, new Set(), preference], 'candidates are an array'],
    ['a candidate that is none', [undefined, [...candidates, null], preference], 'candidate 30'],
    ['a candidate without an id', [undefined, [{ embedding: new Float32Array(3) }], preference], 'candidate 0'],
    ['a candidate without an embedding', [undefined, [{ id: 'x' }], preference], 'embedding of candidate 0'],
    ['an embedding in float64', [undefined, [{ id: 'x', embedding: new Float64Array(3) }], preference], 'Float32Array'],
    [
      'embeddings of different lengths',
      [undefined, [of(3), of(4)], preference],
      'embedding of candidate 1 must have length 3',
    ],
    ['embeddings of another length', [undefined, [of(6), of(6)], preference], 'must have length 3, given 6'],
    ['empty embeddings', [undefined, [of(0)], preference], 'must have length 3, given 0'],
    ['a preference of another length', [undefined, candidates, new Float32Array(5)], 'preference must have length 4'],
    ['a preference of NaN', [undefined, candidates, new Float32Array(4).fill(Number.NaN)], 'preference holds a NaN'],
    ['no preference', [undefined, candidates], 'preference must be a Float32Array'],
    ['a name that is none', [undefined, candidates, preference, ''], 'adapter name'],
  ])('%s', async (_, [userId, ...rest], message) => {
    const args = [userId ?? (await known()), ...rest] as unknown as Parameters<SonaEngine['rank']>;
    await expect(engine.rank(...args)).rejects.toMatchObject({
      code: 'INVALID_ADAPTER',
      message: expect.stringContaining(message),
    });
  });

  test('to work on a closed storage', async () => {
    const node = await bench.open();
    await node.close();
    expect(await codeOf(new SonaEngine(node).rank(randomUUID(), candidates, preference))).toBe('STORAGE_CLOSED');
  });
});
