/** Single flight: who joins, who leaves, and what is left behind. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Flights, mayJoin, untilAborted } from '../../src/coherence/flight.js';

const unhandled: unknown[] = [];
const note = (reason: unknown) => unhandled.push(reason);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});
afterEach(() => {
  process.off('unhandledRejection', note);
});

/** A fetch that ends when the test says so. */
class Fetch {
  readonly #ends: { resolve: (value: string) => void; reject: (error: Error) => void }[] = [];
  readonly start = (): Promise<string> => new Promise((resolve, reject) => this.#ends.push({ resolve, reject }));

  get started(): number {
    return this.#ends.length;
  }

  resolve(flight: number, value: string): void {
    this.#ends[flight]?.resolve(value);
  }

  reject(flight: number, error: Error): void {
    this.#ends[flight]?.reject(error);
  }
}

/** Rejections that nobody handles are reported after the microtasks of a turn. */
const turns = async () => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('callers of one key share a fetch, callers of another do not', async () => {
  const flights = new Flights<string>();
  const fetch = new Fetch();
  const joined = [flights.join('a', fetch.start), flights.join('a', fetch.start), flights.join('b', fetch.start)];
  expect(fetch.started).toBe(2);
  expect(flights.coalesced).toBe(1);
  fetch.resolve(0, 'A');
  fetch.resolve(1, 'B');
  expect(await Promise.all(joined)).toEqual(['A', 'A', 'B']);
});

test('after a flight has landed the next call fetches again', async () => {
  const flights = new Flights<string>();
  const fetch = new Fetch();
  const first = flights.join('a', fetch.start);
  fetch.resolve(0, '1');
  await first;
  const second = flights.join('a', fetch.start);
  fetch.resolve(1, '2');
  expect(await second).toBe('2');
  expect(flights.coalesced).toBe(0);
});

test('a rejection reaches every waiter and leaves no flight behind', async () => {
  const flights = new Flights<string>();
  const fetch = new Fetch();
  const joined = [flights.join('a', fetch.start), flights.join('a', fetch.start, new AbortController().signal)];
  fetch.reject(0, new Error('lost'));
  for (const waiter of joined) await expect(waiter).rejects.toThrow('lost');
  const again = flights.join('a', fetch.start);
  expect(fetch.started).toBe(2);
  fetch.resolve(1, 'found');
  expect(await again).toBe('found');
});

test('a detached flight answers who waits; later callers start anew, and its landing does not end theirs', async () => {
  const flights = new Flights<string>();
  const fetch = new Fetch();
  const before = flights.join('a', fetch.start);
  flights.detach('a');
  const after = flights.join('a', fetch.start);
  expect(fetch.started).toBe(2);
  fetch.resolve(0, 'old');
  expect(await before).toBe('old');
  await turns();
  const joins = flights.join('a', fetch.start);
  expect(fetch.started).toBe(2);
  fetch.resolve(1, 'new');
  expect(await Promise.all([after, joins])).toEqual(['new', 'new']);
});

test('one waiter aborts: he rejects at once with his reason, the others get the answer', async () => {
  const flights = new Flights<string>();
  const fetch = new Fetch();
  const controller = new AbortController();
  const leaves = flights.join('a', fetch.start, controller.signal);
  const stays = flights.join('a', fetch.start, new AbortController().signal);
  const reason = new Error('no longer wanted');
  controller.abort(reason);
  await expect(leaves).rejects.toBe(reason);
  fetch.resolve(0, 'A');
  expect(await stays).toBe('A');
});

test('whoever comes aborted starts nothing', async () => {
  const flights = new Flights<string>();
  const fetch = new Fetch();
  const reason = new Error('too late');
  await expect(flights.join('a', fetch.start, AbortSignal.abort(reason))).rejects.toBe(reason);
  expect(fetch.started).toBe(0);
});

test('all waiters abort and the fetch fails: nobody hears, and no rejection is unhandled', async () => {
  const flights = new Flights<string>();
  const fetch = new Fetch();
  const controller = new AbortController();
  const waiters = [1, 2].map(() => flights.join('a', fetch.start, controller.signal));
  controller.abort();
  for (const waiter of waiters) await expect(waiter).rejects.toThrow();
  fetch.reject(0, new Error('nobody hears this'));
  await turns();
  expect(unhandled).toEqual([]);
  flights.join('a', fetch.start).catch(note);
  expect(fetch.started).toBe(2);
});

test('a signal outlives many calls: each takes its listener with it', async () => {
  const { signal } = new AbortController();
  const heard: string[] = [];
  const counted = Object.assign(signal, {
    addEventListener: (...args: Parameters<AbortSignal['addEventListener']>) => {
      heard.push('on');
      EventTarget.prototype.addEventListener.apply(signal, args);
    },
    removeEventListener: (...args: Parameters<AbortSignal['removeEventListener']>) => {
      heard.push('off');
      EventTarget.prototype.removeEventListener.apply(signal, args);
    },
  });
  await untilAborted(Promise.resolve('a'), counted);
  await expect(untilAborted(Promise.reject(new Error('b')), counted)).rejects.toThrow('b');
  await turns();
  expect(heard.toSorted()).toEqual(['off', 'off', 'on', 'on']);
});

test('a flight that is too old is not joined: its answer may be older than any cached entry that is served', async () => {
  expect([99, 100, 101].map((now) => mayJoin(0, now, 100))).toEqual([true, false, false]);
  const flights = new Flights<string>(0);
  const fetch = new Fetch();
  const joined = [flights.join('a', fetch.start), flights.join('a', fetch.start)];
  expect(fetch.started).toBe(2);
  // The first ends last, and must not take the place of the second.
  fetch.resolve(1, 'new');
  fetch.resolve(0, 'old');
  expect(await Promise.all(joined)).toEqual(['old', 'new']);
  expect(flights.coalesced).toBe(0);
});
