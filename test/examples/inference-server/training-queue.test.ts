/** The training queue by itself, its trainings ended by hand: what a drain does, and that no event gets lost in it. */
import { expect, test } from 'vitest';
import { integerBelow, seeded } from '../../support/adapters.js';
import { waitFor } from '../../support/wait.js';
import { byHand, signal } from './by-hand.js';

test('a drain tries again what was refused, and gives up what is too little', async () => {
  const { queue, add, end } = byHand();
  add('a');
  add('b', 'default', 9);
  const drained = queue.drain();
  await end('again');
  await waitFor(() => queue.running === 1);
  await end('trained');
  await drained;
  expect(queue.counts).toEqual({ accepted: 19, waiting: 0, trained: 10, dropped: 9 });
});

test('a drain whose time is up waits for the training under way, and begins none', async () => {
  const { queue, add, end, users } = byHand({ drainMs: 0, concurrency: 1 });
  add('a');
  add('b');
  const drained = queue.drain();
  await end('trained');
  await drained;
  expect([users(), queue.counts]).toEqual([[], { accepted: 20, waiting: 0, trained: 10, dropped: 10 }]);
});

test('a drain waits for no longer than its time for a user of whom it is not known whether they are gone', async () => {
  const { queue, add, users } = byHand({ drainMs: 50 });
  // 1. It is asked, and Postgres does not answer. 2. What waits becomes enough. 3. The drain.
  add('a', 'default', 4);
  const answer = signal();
  const checked = queue.forgetting.forgetIf('a', 'default', async () => {
    await answer.given;
    return undefined;
  });
  add('a');
  await queue.drain();
  expect([users(), queue.counts]).toEqual([[], { accepted: 14, waiting: 0, trained: 0, dropped: 14 }]);
  answer.give();
  await checked;
});

test('each event that was accepted is waiting, trained or dropped, at every moment of two thousand', async () => {
  const random = seeded(7);
  const { queue, begun, add } = byHand({ capacity: 60, retryMs: 0 });
  const pick = <T>(...choices: T[]) => choices[integerBelow(random, choices.length)] as T;
  const pending: Promise<unknown>[] = [];
  let accepted = 0;
  const check = () => {
    const { waiting, trained, dropped } = queue.counts;
    expect([queue.counts.accepted, waiting + trained + dropped]).toEqual([accepted, accepted]);
    expect(waiting).toBeGreaterThanOrEqual(0);
    expect(waiting).toBeLessThanOrEqual(60);
  };
  const steps: (() => unknown)[] = [
    () => {
      const count = 1 + integerBelow(random, 10);
      if (add(pick('a', 'b', 'c'), pick('one', 'two'), count)) accepted += count;
    },
    () => begun.shift()?.end(pick('trained', 'dropped', 'again')),
    () => pending.push(queue.forgetting.forget(pick('a', 'b'), () => new Promise((resolve) => setImmediate(resolve)))),
    () =>
      pending.push(
        queue.forgetting.forgetIf(pick('b', 'c'), pick('one', 'two'), async () => pick(true, false, undefined)),
      ),
    () => new Promise((resolve) => setImmediate(resolve)),
  ];
  for (let i = 0; i < 2000; i++) {
    await pick(...steps, steps[0], steps[1], steps[4])?.();
    check();
  }
  const drained = queue.drain();
  const ending = setInterval(() => begun.shift()?.end('trained'), 0);
  await Promise.all([drained, ...pending]);
  clearInterval(ending);
  check();
  expect(queue.counts.waiting).toBe(0);
  expect(Math.min(queue.counts.trained, queue.counts.dropped)).toBeGreaterThan(100);
});
