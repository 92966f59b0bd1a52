/** UserLoRAAdapter as its users meet it: shapes, fields, initialisation, and what it refuses. */
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { adapterFromRecord, UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { decodeRecord } from '../../src/adapter/codec.js';
import type { AdapterShape } from '../../src/adapter/matrix.js';
import { InvalidAdapterError } from '../../src/errors.js';
import { goldenBytes } from '../support/adapters.js';

const ID = '01234567-89ab-cdef-0123-456789abcdef';
const small: AdapterShape = { rank: 2, inputDim: 3, outputDim: 4 };

describe('a new adapter', () => {
  test('has the default shape, zero weights and no training behind it', () => {
    const adapter = new UserLoRAAdapter(ID.toUpperCase());
    expect(adapter.userId).toBe(ID);
    expect([adapter.rank, adapter.inputDim, adapter.outputDim]).toEqual([8, 512, 768]);
    expect(adapter.scalingFactor).toBe(2);
    expect(adapter.trainingIterations).toBe(0);
    expect(adapter.lastTrainedTime).toBeInstanceOf(Date);
    expect(adapter.baseLayerWeights).toMatchObject({ rows: 8, cols: 512 });
    expect(adapter.userLayerWeights).toMatchObject({ rows: 768, cols: 8 });
    expect(adapter.baseLayerWeights.data).toEqual(new Float32Array(8 * 512));
    expect(adapter.userLayerWeights.data).toEqual(new Float32Array(768 * 8));
  });

  test('scales by alpha / rank, in single precision', () => {
    expect(new UserLoRAAdapter(ID, { rank: 3 }).scalingFactor).toBe(Math.fround(16 / 3));
    expect(new UserLoRAAdapter(ID, { rank: 4, alpha: 0.1 }).scalingFactor).toBe(Math.fround(0.025));
  });

  test.each([
    { rank: 0 },
    { rank: -1 },
    { inputDim: 1.5 },
    { outputDim: Number.NaN },
    { outputDim: Number.POSITIVE_INFINITY },
    { rank: 2 ** 53 },
    { rank: '8' as unknown as number },
    { inputDim: null as unknown as number },
    { rank: 2 ** 20, inputDim: 2 ** 20 },
    { alpha: Number.NaN },
    { alpha: 1e300 },
    { alpha: '16' as unknown as number },
    { dim: 5 } as AdapterShape,
    7 as unknown as AdapterShape,
    null as unknown as AdapterShape,
  ])('is refused with shape %j', (shape) => {
    expect(() => new UserLoRAAdapter(ID, shape)).toThrow(InvalidAdapterError);
  });

  test('is refused without a user id, also for someone who forges what loads use', () => {
    const forged = [decodeRecord(goldenBytes('tiny-1x1-1.bin')), {}, Symbol('sharing')] as unknown as [string];
    expect(() => new UserLoRAAdapter('me')).toThrow(InvalidAdapterError);
    expect(() => new UserLoRAAdapter(...forged)).toThrow(InvalidAdapterError);
  });

  test('keeps its identity and shape: they cannot be assigned', () => {
    const adapter = new UserLoRAAdapter(ID, small);
    for (const field of ['userId', 'rank', 'inputDim', 'outputDim', 'scalingFactor', 'baseLayerWeights']) {
      expect(() => Object.assign(adapter, { [field]: 1 })).toThrow(TypeError);
    }
    expect(() => Object.assign(adapter.baseLayerWeights, { rows: 1 })).toThrow(TypeError);
  });

  test('shows itself without its weights', () => {
    expect(inspect(new UserLoRAAdapter(ID, small))).toBe(
      `UserLoRAAdapter { ${ID}, rank 2, 3 → 4, scaling 8, 0 training iterations }`,
    );
  });
});

describe('initializeRandom', () => {
  const weights = (seed?: number) => {
    const { baseLayerWeights, userLayerWeights } = new UserLoRAAdapter(ID).initializeRandom(seed);
    return [...baseLayerWeights.data, ...userLayerWeights.data];
  };

  test('the same seed gives the same weights, on every machine and for good', () => {
    expect(weights(42)).toEqual(weights(42));
    const adapter = new UserLoRAAdapter(ID, small).initializeRandom(42);
    expect(adapter.baseLayerWeights.data.slice()).toMatchInlineSnapshot(`
      Float32Array [
        -0.45046037435531616,
        -0.10200826823711395,
        0.9038859009742737,
        -0.45721638202667236,
        -0.7606104612350464,
        -0.8515157699584961,
      ]
    `);
    expect(adapter.userLayerWeights.data.slice()).toMatchInlineSnapshot(`
      Float32Array [
        0.5265925526618958,
        -0.36660805344581604,
        -0.2958522439002991,
        0.25047117471694946,
        0.5312459468841553,
        0.060973651707172394,
        -0.17659549415111542,
        -0.9912446737289429,
      ]
    `);
  });

  test('other seeds give other weights, and no seed new ones each time', () => {
    const seeds = [0, 1, -1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER, undefined, undefined];
    const firsts = seeds.map((seed) => weights(seed)[0]);
    expect(new Set(firsts).size).toBe(seeds.length);
  });

  test('weights are uniform within the Xavier limit of each layer', () => {
    const adapter = new UserLoRAAdapter(ID).initializeRandom(1);
    for (const { rows, cols, data } of [adapter.baseLayerWeights, adapter.userLayerWeights]) {
      const limit = Math.sqrt(6 / (rows + cols));
      const values = [...data];
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(Math.fround(limit));
      expect(Math.max(...values)).toBeGreaterThan(0.99 * limit);
      expect(Math.min(...values)).toBeLessThan(-0.99 * limit);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const variance = values.reduce((sum, value) => sum + value ** 2, 0) / values.length;
      expect(Math.abs(mean)).toBeLessThan(0.03 * limit);
      expect(variance / (limit ** 2 / 3)).toBeCloseTo(1, 1);
    }
  });

  test.each([0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1' as unknown as number])(
    'refuses seed %s',
    (seed) => {
      expect(() => new UserLoRAAdapter(ID).initializeRandom(seed)).toThrow(InvalidAdapterError);
    },
  );
});

describe('lastTrainedTime', () => {
  const record = decodeRecord(goldenBytes('tiny-1x1-1.bin'));
  const updatedAt = new Date('2026-11-23T12:00:00.123Z');

  test('is the time of the row after a load, in a Date of its own for every caller', () => {
    const [one, other] = [adapterFromRecord(record, updatedAt), adapterFromRecord(record, updatedAt.getTime())];
    one.lastTrainedTime.setFullYear(1999);
    expect(one.lastTrainedTime.getFullYear()).toBe(1999);
    expect(other.lastTrainedTime).toEqual(updatedAt);
    expect(updatedAt.getFullYear()).toBe(2026);
    const clone = other.clone();
    clone.lastTrainedTime.setFullYear(1999);
    expect(other.lastTrainedTime.getFullYear()).toBe(2026);
  });

  test('takes the time of a Date it is set to, not the Date', () => {
    const adapter = adapterFromRecord(record, 0);
    const time = new Date(5);
    adapter.lastTrainedTime = time;
    time.setTime(6);
    expect(adapter.lastTrainedTime.getTime()).toBe(5);
    for (const wrong of [new Date(Number.NaN), 5, undefined]) {
      expect(() => Object.assign(adapter, { lastTrainedTime: wrong })).toThrow(InvalidAdapterError);
    }
    expect(adapter.lastTrainedTime.getTime()).toBe(5);
  });
});
