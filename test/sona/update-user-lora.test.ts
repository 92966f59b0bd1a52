/** UpdateUserLoRA.execute: what it asks for, what it changes, and that every error leaves the adapter as it was. */
import { describe, expect, test } from 'vitest';
import { adapterFromRecord, UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { decodeHalf, decodeRecord, encodeAdapter, halve } from '../../src/adapter/codec.js';
import type { Vector } from '../../src/adapter/matrix.js';
import { EmbeddingError, InvalidAdapterError } from '../../src/errors.js';
import type { ContentEmbedding, SonaConfig, ViewingEvent } from '../../src/sona/types.js';
import { UpdateUserLoRA } from '../../src/sona/update-user-lora.js';
import { lessonFor } from './support.js';

const shape = { rank: 2, inputDim: 3, outputDim: 4 };
const userId = '01234567-89ab-cdef-0123-456789abcdef';
const fresh = () => new UserLoRAAdapter(userId, shape).initializeRandom(1);
const { events, embedding, preference } = lessonFor(shape, 12);
const { execute } = UpdateUserLoRA;

/** All that can be seen of an adapter. */
const stateOf = (adapter: UserLoRAAdapter) => ({
  bytes: encodeAdapter(adapter).toString('hex'),
  lastTrained: adapter.lastTrainedTime.getTime(),
});

describe('training', () => {
  test('moves the user layer, counts one iteration, and sets the time; the base layer stays', async () => {
    const adapter = fresh();
    adapter.trainingIterations = 41;
    adapter.lastTrainedTime = new Date(0);
    const [base, user] = [adapter.baseLayerWeights.data.slice(), adapter.userLayerWeights.data.slice()];
    const begun = Date.now();
    const report = await execute(adapter, events, embedding, preference);
    expect(report).toMatchObject({ trained: true, events: 12 });
    expect(report.lossPerEpoch).toHaveLength(5);
    expect(adapter.trainingIterations).toBe(42);
    expect(adapter.lastTrainedTime.getTime()).toBeGreaterThanOrEqual(begun);
    expect(adapter.baseLayerWeights.data).toEqual(base);
    expect(adapter.userLayerWeights.data).not.toEqual(user);
  });

  test('of a clone leaves the other one alone', async () => {
    const adapter = fresh();
    const before = stateOf(adapter);
    await execute(adapter.clone(), events, embedding, preference);
    expect(stateOf(adapter)).toEqual(before);
  });

  test('fewer events than minTrainingEvents train nothing and ask for nothing; as many train', async () => {
    const adapter = fresh();
    const before = stateOf(adapter);
    const never: ContentEmbedding = () => expect.fail('asked for');
    for (const few of [events.slice(0, 9), []]) {
      const report = await execute(adapter, few, never, preference);
      expect(report).toEqual({ trained: false, events: few.length, lossPerEpoch: [] });
    }
    expect(stateOf(adapter)).toEqual(before);
    expect((await execute(adapter, events.slice(0, 10), embedding, preference)).trained).toBe(true);
    const config = { minTrainingEvents: 2, epochs: 3 };
    const report = await execute(adapter, events.slice(0, 2), embedding, preference, config);
    expect([report.trained, report.lossPerEpoch.length]).toEqual([true, 3]);
  });

  test('asks for each distinct content once, and for 16 at a time', async () => {
    const many = lessonFor(shape, 100, 40);
    const asked: string[] = [];
    let [underWay, most] = [0, 0];
    await execute(
      fresh(),
      many.events,
      async (contentId) => {
        asked.push(contentId);
        most = Math.max(most, ++underWay);
        await new Promise((resolve) => setImmediate(resolve));
        underWay--;
        return many.embedding(contentId);
      },
      many.preference,
    );
    expect(asked.sort()).toEqual([...many.embeddings.keys()].sort());
    expect(most).toBe(16);
  });

  test('goes by the events, in whatever order their embeddings come', async () => {
    const waiting: (() => void)[] = [];
    const [plain, late] = [fresh(), fresh()];
    await execute(plain, events, embedding, preference);
    // 1. All are asked for. 2. The last one comes first.
    const training = execute(
      late,
      events,
      async (contentId) => {
        await new Promise<void>((resolve) => waiting.push(resolve));
        return embedding(contentId);
      },
      preference,
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(waiting).toHaveLength(12);
    for (const come of waiting.reverse()) {
      come();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await training;
    expect(stateOf(late).bytes).toBe(stateOf(plain).bytes);
    // The order of the events themselves does count.
    const turned = fresh();
    await execute(turned, events.toReversed(), embedding, preference);
    expect(stateOf(turned).bytes).not.toBe(stateOf(plain).bytes);
  });

  test('works on what was handed in, whatever the caller does with it afterwards', async () => {
    const [plain, changed] = [fresh(), fresh()];
    await execute(plain, events, embedding, preference);
    const [ours, mine] = [events.map((event) => ({ ...event })), preference.slice()];
    const training = execute(changed, ours, embedding, mine);
    for (const event of ours) event.completionRate = 0;
    ours.length = 1;
    mine.fill(9);
    await training;
    expect(stateOf(changed).bytes).toBe(stateOf(plain).bytes);
  });

  test('the event loop turns while embeddings are there at once, however many', async () => {
    const many = lessonFor(shape, 4000);
    let turns = 0;
    let training = true;
    const turn = () => {
      turns++;
      if (training) setImmediate(turn);
    };
    setImmediate(turn);
    const slow: ContentEmbedding = (contentId) => {
      for (const begun = performance.now(); performance.now() - begun < 0.02; );
      return many.embedding(contentId);
    };
    await execute(fresh(), many.events, slow, many.preference);
    training = false;
    // 80 ms of work, in slices of 4 ms.
    expect(turns).toBeGreaterThan(8);
  });
});

describe('every error leaves the adapter as it was', () => {
  async function refused(call: {
    adapter?: UserLoRAAdapter;
    events?: unknown;
    embedding?: unknown;
    preference?: unknown;
    config?: unknown;
  }): Promise<Error> {
    const adapter = call.adapter ?? fresh();
    const before = call.adapter === undefined ? stateOf(adapter) : undefined;
    const given = { events, embedding, preference, config: undefined, ...call };
    const training = execute(
      adapter,
      given.events as ViewingEvent[],
      given.embedding as ContentEmbedding,
      given.preference as Vector,
      given.config as SonaConfig,
    );
    const error = await training.then(
      () => expect.fail('it was trained'),
      (reason: Error) => reason,
    );
    if (before !== undefined) expect(stateOf(adapter)).toEqual(before);
    return error;
  }
  const embeddingOf = (what: unknown) => (contentId: string) => (contentId === 'c7' ? what : embedding(contentId));
  const cause = new Error('no such content');

  test.each([
    [
      'thrown',
      () => {
        throw cause;
      },
      'could not be had',
      cause,
    ],
    ['rejected', () => Promise.reject(cause), 'could not be had', cause],
    ['unknown', embeddingOf(undefined), 'is not there', undefined],
    ['null', embeddingOf(null), 'is not there', undefined],
    ['too long', embeddingOf(new Float32Array(4)), 'length 3, given 4', undefined],
    ['empty', embeddingOf(new Float32Array(0)), 'length 3, given 0', undefined],
    ['an array', embeddingOf([1, 2, 3]), 'Float32Array', undefined],
    ['float64', embeddingOf(new Float64Array(3)), 'Float32Array', undefined],
    ['shared', embeddingOf(new Float32Array(new SharedArrayBuffer(12))), 'SharedArrayBuffer', undefined],
    ['NaN', embeddingOf(Float32Array.of(1, 2, Number.NaN)), 'NaN or an infinity', undefined],
    ['infinite', embeddingOf(Float32Array.of(Number.NEGATIVE_INFINITY, 0, 0)), 'NaN or an infinity', undefined],
    ['too large', embeddingOf(new Float32Array(3).fill(3e38)), 'too large', undefined],
  ] as [string, ContentEmbedding, string, unknown][])('an embedding that is %s', async (_, broken, message, why) => {
    const adapter = fresh().updateWeights((base) => base.fill(1));
    const before = stateOf(adapter);
    const error = await refused({ adapter, embedding: broken });
    expect(error).toBeInstanceOf(EmbeddingError);
    expect(error).toMatchObject({ code: 'EMBEDDING_UNUSABLE', contentId: why ? 'c0' : 'c7' });
    expect(error.message).toContain(`the embedding of content "${why ? 'c0' : 'c7'}" `);
    expect(error.message).toContain(message);
    expect(error.cause).toBe(why);
    expect(stateOf(adapter)).toEqual(before);
  });

  test('the first embedding that fails ends it: no more are asked for', async () => {
    const many = lessonFor(shape, 200);
    let asked = 0;
    const failing: ContentEmbedding = async (contentId) => {
      asked++;
      if (contentId === 'c0') throw cause;
      return many.embedding(contentId);
    };
    expect(await refused({ events: many.events, embedding: failing })).toBeInstanceOf(EmbeddingError);
    await new Promise((resolve) => setImmediate(resolve));
    // Those that were under way, and one more of each that came meanwhile.
    expect(asked).toBeLessThanOrEqual(32);
  });

  const event = (changes: object) => events.with(3, { ...(events[3] as ViewingEvent), ...changes });
  test.each([
    ['events that are no array', { events: new Set(events) }, 'array'],
    ['an event that is none', { events: events.with(3, null as never) }, 'event 3'],
    ['a completionRate above 1', { events: event({ completionRate: 1.01 }) }, 'event 3: completionRate'],
    ['a completionRate below 0', { events: event({ completionRate: -0.01 }) }, 'event 3: completionRate'],
    ['a completionRate of NaN', { events: event({ completionRate: Number.NaN }) }, 'event 3: completionRate'],
    ['no completionRate', { events: event({ completionRate: undefined }) }, 'event 3: completionRate'],
    ['a completionRate in words', { events: event({ completionRate: '0.5' }) }, 'event 3: completionRate'],
    ['a rating of 0', { events: event({ rating: 0 }) }, 'event 3: rating'],
    ['a rating of 5.5', { events: event({ rating: 5.5 }) }, 'event 3: rating'],
    ['a rating of NaN', { events: event({ rating: Number.NaN }) }, 'event 3: rating'],
    ['a rating of null', { events: event({ rating: null }) }, 'event 3: rating'],
    ['no contentId', { events: event({ contentId: undefined }) }, 'event 3: contentId'],
    ['an empty contentId', { events: event({ contentId: '' }) }, 'event 3: contentId'],
    ['isRewatch in words', { events: event({ isRewatch: 'no' }) }, 'event 3: isRewatch'],
    ['a bad event among too few', { events: [{ contentId: 'c', completionRate: 2 }] }, 'event 0: completionRate'],
    ['a short preference', { preference: new Float32Array(3) }, 'preference must have length 4, given 3'],
    ['no preference', { preference: undefined }, 'preference must be a Float32Array'],
    ['a preference of NaN', { preference: Float32Array.of(1, 2, Number.NaN, 4) }, 'preference holds a NaN'],
    ['a preference that is infinite', { preference: new Float32Array(4).fill(Number.POSITIVE_INFINITY) }, 'infinity'],
    ['a preference too large', { preference: new Float32Array(4).fill(3e38) }, 'too large'],
    ['no embedding', { embedding: undefined }, 'embedding is a function'],
    ['settings that are none', { config: 3 }, 'SonaConfig'],
    ['a setting misspelled', { config: { learningrate: 0.1 } }, "unknown 'learningrate'"],
    ['a learningRate of 0', { config: { learningRate: 0 } }, 'learningRate'],
    ['a learningRate of NaN', { config: { learningRate: Number.NaN } }, 'learningRate'],
    ['half an epoch', { config: { epochs: 0.5 } }, 'epochs'],
    ['epochs without end', { config: { epochs: Number.POSITIVE_INFINITY } }, 'epochs'],
    ['no epochs', { config: { epochs: 0 } }, 'epochs'],
    ['minTrainingEvents of 0', { config: { minTrainingEvents: 0 } }, 'minTrainingEvents'],
    ['steps that no float holds', { config: { learningRate: 1e200 } }, 'lower learningRate'],
    ['steps that no double holds', { config: { learningRate: 1e308, epochs: 50 } }, 'lower learningRate'],
  ])('%s', async (_, call, message) => {
    const adapter = fresh().updateWeights((_, user) => user.fill(1));
    const before = stateOf(adapter);
    const error = await refused({ adapter, ...call });
    expect(error).toBeInstanceOf(InvalidAdapterError);
    expect(error.message).toContain(message);
    expect(stateOf(adapter)).toEqual(before);
  });

  test('weights that are NaN already', async () => {
    const broken = fresh().updateWeights((_, user) => user.fill(Number.NaN, 0, 1));
    expect((await refused({ adapter: broken })).message).toContain('not finite');
    const base = fresh().updateWeights((base) => base.fill(Number.NaN, 0, 1));
    expect(await refused({ adapter: base })).toBeInstanceOf(EmbeddingError);
    expect([broken.trainingIterations, base.trainingIterations]).toEqual([0, 0]);
  });

  test('weights that a copy in half precision had rounded', async () => {
    const half = halve(decodeRecord(encodeAdapter(fresh()))) as Buffer;
    const rounded = adapterFromRecord(decodeHalf(half), 0);
    const before = stateOf(rounded);
    const error = await refused({ adapter: rounded });
    expect(error).toBeInstanceOf(InvalidAdapterError);
    expect(error.message).toContain('{ exact: true }');
    expect(stateOf(rounded)).toEqual(before);
  });

  test('weights that were changed meanwhile: what was written stays, and no step is taken over it', async () => {
    const adapter = fresh();
    const training = refused({ adapter });
    adapter.updateWeights((_, user) => user.fill(0.5));
    const changed = stateOf(adapter);
    expect((await training).message).toContain('changed while it was trained');
    expect(stateOf(adapter)).toEqual(changed);
  });

  test('two at a time on one adapter: one of them is refused', async () => {
    const adapter = fresh();
    const both = [1, 2].map(() => execute(adapter, events, embedding, preference));
    const outcomes = (await Promise.allSettled(both)).map(({ status }) => status).sort();
    expect(outcomes).toEqual(['fulfilled', 'rejected']);
    expect(adapter.trainingIterations).toBe(1);
  });

  test('what is no adapter', async () => {
    await expect(execute({} as UserLoRAAdapter, events, embedding, preference)).rejects.toThrow(InvalidAdapterError);
  });
});

test('labels are those of the definition', async () => {
  const cases: [Omit<ViewingEvent, 'contentId'>, number][] = [
    [{ completionRate: 0.3 }, 0.4 * 0.5 + 0.3 * 0.5 * 0.5],
    [{ completionRate: 1 }, 0.4 + 0.3 * 0.5],
    [{ completionRate: 1, rating: 5 }, 0.7],
    [{ completionRate: 1, rating: 5, isRewatch: true }, 0.9],
    [{ completionRate: 1, rating: 1, isRewatch: true }, 0.6],
    [{ completionRate: 0, rating: 1 }, 0.4 * (0.5 - 0.3 / 1.4)],
    [{ completionRate: 0.65, rating: 3, isRewatch: false }, 0.4 * 0.75 + 0.15],
  ];
  for (const [event, label] of cases) {
    // At a logit of zero the loss is ln 2 whatever the label, and the step says what it was.
    const adapter = new UserLoRAAdapter(userId, { rank: 1, inputDim: 1, outputDim: 1, alpha: 1 });
    adapter.updateWeights((base) => base.fill(1));
    const config = { learningRate: 1, epochs: 1, minTrainingEvents: 1 };
    await execute(adapter, [{ contentId: 'c', ...event }], () => Float32Array.of(1), Float32Array.of(1), config);
    expect(adapter.userLayerWeights.data[0]).toBeCloseTo(label - 0.5, 6);
  }
});
