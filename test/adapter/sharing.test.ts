/** Weights are shared by everyone who loaded the same record, and nobody can change what another one reads. */
import { describe, expect, test } from 'vitest';
import { adapterFromRecord, UserLoRAAdapter, weightsOf } from '../../src/adapter/adapter.js';
import { decodeRecord, encodeAdapter } from '../../src/adapter/codec.js';
import { InvalidAdapterError } from '../../src/errors.js';
import { goldenBytes } from '../support/adapters.js';

const bytes = goldenBytes('odd-3x7-5.bin');
const ID = '01234567-89ab-cdef-0123-456789abcdef';

function load() {
  const record = decodeRecord(bytes);
  return { record, one: adapterFromRecord(record, 0), other: adapterFromRecord(record, 0) };
}

describe('sharing', () => {
  test('adapters over one record and their clones hold the very arrays of the record', () => {
    const { record, one, other } = load();
    for (const adapter of [one, other, one.clone(), other.clone().clone()]) {
      expect(adapter.baseLayerWeights.data).toBe(record.base);
      expect(adapter.userLayerWeights.data).toBe(record.user);
      expect(weightsOf(adapter)).toBe(record);
    }
  });

  test('a matrix is made once, and a new one after an update', () => {
    const { one } = load();
    const before = one.baseLayerWeights;
    expect(one.baseLayerWeights).toBe(before);
    one.updateWeights(() => {});
    expect(one.baseLayerWeights).not.toBe(before);
  });

  test('trainingIterations belong to each caller', () => {
    const { record, one, other } = load();
    one.trainingIterations += 5;
    expect(one.clone().trainingIterations).toBe(14);
    expect(other.trainingIterations).toBe(9);
    expect(record.trainingIterations).toBe(9);
  });
});

describe('updateWeights', () => {
  test('changes this adapter and no other: not the record, not who loaded it too, not a clone, not a matrix taken before', () => {
    const { record, one, other } = load();
    const clone = one.clone();
    const matrix = one.userLayerWeights;
    const returned = one.updateWeights((base, user) => {
      expect(base).toEqual(record.base);
      expect(user).toEqual(record.user);
      base.fill(1);
      user.fill(2);
    });
    expect(returned).toBe(one);
    expect(one.baseLayerWeights.data).toEqual(new Float32Array(21).fill(1));
    expect(one.userLayerWeights.data).toEqual(new Float32Array(15).fill(2));
    for (const untouched of [other, clone]) expect(encodeAdapter(untouched).equals(bytes)).toBe(true);
    expect(record.bytes.equals(bytes)).toBe(true);
    expect(matrix.data).toBe(record.user);
  });

  test('builds on what the update before it wrote, and leaves a clone made in between', () => {
    const adapter = new UserLoRAAdapter(ID, { rank: 1, inputDim: 2, outputDim: 2 });
    const add = () => adapter.updateWeights((base) => base.set(base.map((value) => value + 1)));
    add();
    const clone = adapter.clone();
    add();
    clone.updateWeights((_base, user) => user.fill(9));
    expect(adapter.baseLayerWeights.data).toEqual(Float32Array.of(2, 2));
    expect(adapter.userLayerWeights.data).toEqual(Float32Array.of(0, 0));
    expect(clone.baseLayerWeights.data).toEqual(Float32Array.of(1, 1));
    expect(clone.userLayerWeights.data).toEqual(Float32Array.of(9, 9));
  });

  test('an edit that throws leaves the adapter as it was, and the error passes through', () => {
    const { record, one } = load();
    const cause = new Error('diverged');
    const failing = (base: Float32Array) => {
      base.fill(Number.NaN);
      throw cause;
    };
    expect(() => one.updateWeights(failing)).toThrow(cause);
    expect(weightsOf(one)).toBe(record);
    one.updateWeights((base) => base.fill(1));
    expect(() => one.updateWeights(failing)).toThrow(cause);
    expect(one.baseLayerWeights.data).toEqual(new Float32Array(21).fill(1));
  });

  test('arrays kept beyond the edit write to nothing', () => {
    const { one } = load();
    const kept: Float32Array[] = [];
    one.updateWeights((base, user) => {
      kept.push(base.fill(1), user, new Float32Array(base.buffer));
    });
    const clone = one.clone();
    for (const array of kept) {
      expect(array).toHaveLength(0);
      array[0] = 7;
    }
    expect(one.baseLayerWeights.data[0]).toBe(1);
    expect(clone.baseLayerWeights.data[0]).toBe(1);
  });

  test('an asynchronous edit is refused and changes nothing', () => {
    const { record, one } = load();
    const edit = async (base: Float32Array) => {
      base.fill(1);
      await Promise.reject(new Error('nobody awaits this'));
    };
    expect(() => one.updateWeights(edit)).toThrow(InvalidAdapterError);
    expect(() => one.updateWeights(edit)).toThrow('synchronous');
    expect(weightsOf(one)).toBe(record);
  });

  test('an update from within an update is refused rather than lost; the inner one stands', () => {
    const { one } = load();
    const nested = () =>
      one.updateWeights((outer) => {
        outer.fill(2);
        one.updateWeights((inner) => inner.fill(1));
      });
    expect(nested).toThrow(InvalidAdapterError);
    expect(one.baseLayerWeights.data[0]).toBe(1);
  });

  test('an edit that gives its arrays away is refused', () => {
    const { record, one } = load();
    const giveAway = (base: Float32Array) => {
      structuredClone(base, { transfer: [base.buffer as ArrayBuffer] });
    };
    expect(() => one.updateWeights(giveAway)).toThrow(InvalidAdapterError);
    expect(weightsOf(one)).toBe(record);
  });
});

describe('copyWeightsTo', () => {
  test('fills rows of a batch, and refuses any other length before it writes', () => {
    const { record, one } = load();
    const [base, user] = [new Float32Array(42), new Float32Array(30)];
    one.copyWeightsTo(base.subarray(21), user.subarray(0, 15));
    expect(base.subarray(0, 21)).toEqual(new Float32Array(21));
    expect(base.subarray(21)).toEqual(record.base);
    expect(user.subarray(0, 15)).toEqual(record.user);
    const untouched = new Float32Array(21);
    expect(() => one.copyWeightsTo(untouched, user)).toThrow('user must have length 15, given 30');
    expect(() => one.copyWeightsTo(base, user)).toThrow('base must have length 21, given 42');
    expect(() => one.copyWeightsTo([] as unknown as Float32Array, user)).toThrow(InvalidAdapterError);
    expect(untouched).toEqual(new Float32Array(21));
  });
});
