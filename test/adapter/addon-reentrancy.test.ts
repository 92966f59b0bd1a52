/**
 * No JavaScript runs in the middle of a call of the addon: what could run some is refused as an argument and never asked,
 * so that nothing that was checked can change before it is used.
 */
import { describe, expect, test } from 'vitest';
import type { Addon, Kernels } from '../../src/adapter/native.js';
import { addon, goldenBytes } from '../support/adapters.js';

type Function = (...args: unknown[]) => unknown;

const native: Addon = addon();
const record = goldenBytes('tiny-1x1-1.bin');
const facts = () => Float64Array.of(1, 1, 1, 16, 1, 0);
const one = () => new Float32Array(1);

/** Arguments that each function accepts; lengths and rank are one throughout. */
const own: Record<string, unknown[]> = {
  verify: [record, facts(), 0, native.crc32c(record, 0)],
  decode: [record, facts(), new Uint8Array(record.length), 0, native.crc32c(record, 0)],
  decodeHalf: [native.halve(record), facts(), 0, native.crc32c(native.halve(record) as Buffer, 0)],
  halve: [record],
  encode: [new Uint8Array(100), new Uint8Array(16), facts(), one(), one()],
  crc32c: [record, 0],
  readEntryHeader: [new Uint8Array(48), 'key', new Float64Array(9)],
  descent: [one(), new Uint32Array(1), new Float64Array(1), one(), Float64Array.of(1, 1, 0.1, 1)],
  kernels: ['scalar'],
};
const arithmetic: Record<string, unknown[]> = {
  forward: [one(), one(), 1, one(), one()],
  score: [one(), one(), 1, one(), one()],
  scoreMany: [one(), one(), 1, one(), one(), one()],
  project: [one(), one(), one()],
  reflect: [one(), one(), one()],
  descend: [one(), one(), one()],
  toHalf: [one(), new Uint16Array(1)],
  fromHalf: [new Uint16Array(1), one()],
};
const kernels = native.kernels('scalar') as Kernels;
const functions = [
  ...Object.entries(own).map(([name, args]) => ({ name, args, call: native[name as keyof Addon] as Function })),
  ...Object.entries(arithmetic).map(([name, args]) => ({
    name,
    args,
    call: kernels[name as keyof Kernels] as Function,
  })),
];

test('every function of the addon is here', () => {
  const named = (object: object) => Object.entries(object).filter(([, value]) => typeof value === 'function');
  const names = [...named(native), ...named(kernels)].map(([name]) => name);
  expect(functions.map(({ name }) => name).sort()).toEqual(names.sort());
});

describe.each(functions)('$name', ({ args, call }) => {
  test('accepts what is meant for it', () => {
    expect(() => call(...args)).not.toThrow();
  });

  test.each(args.map((arg, index) => ({ arg, index })))('asks nothing of a wrong argument $index', ({ arg, index }) => {
    const asked: PropertyKey[] = [];
    for (const wrong of curious(arg, asked)) {
      expect(() => call(...args.with(index, wrong))).toThrow(TypeError);
    }
    expect(asked).toEqual([]);
  });

  test('asks nothing of typed arrays whose properties are not those of the memory', () => {
    const asked: PropertyKey[] = [];
    const lying = args.map((arg) => (ArrayBuffer.isView(arg) ? overridden(arg, asked) : arg));
    expect(() => call(...lying)).not.toThrow();
    expect(asked).toEqual([]);
  });
});

/** Objects that stand for this argument, and note each question. */
function curious(arg: unknown, asked: PropertyKey[]): unknown[] {
  const answer = (what: PropertyKey) => () => {
    asked.push(what);
    return arg;
  };
  const noting: ProxyHandler<object> = {
    get: (target, key) => {
      asked.push(key);
      return Reflect.get(target, key);
    },
    has: (target, key) => {
      asked.push(key);
      return Reflect.has(target, key);
    },
    getPrototypeOf: (target) => {
      asked.push('prototype');
      return Reflect.getPrototypeOf(target);
    },
  };
  const target = typeof arg === 'object' && arg !== null ? arg : Object(arg);
  return [
    { valueOf: answer('valueOf'), toString: answer('toString') },
    { [Symbol.toPrimitive]: answer('toPrimitive') },
    new Proxy(target, noting),
  ];
}

/** The same memory, with getters of its own in front of everything that one would look at. */
function overridden(array: ArrayBufferView, asked: PropertyKey[]): unknown {
  const view = (array as Uint8Array).slice();
  for (const key of ['buffer', 'byteOffset', 'byteLength', 'length', 'constructor', Symbol.toStringTag]) {
    Object.defineProperty(view, key, {
      get() {
        asked.push(key);
        return 2 ** 30;
      },
    });
  }
  return view;
}
