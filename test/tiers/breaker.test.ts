/** What opens the breaker, what closes it, and what says nothing either way. No server: its failures are given. */
import { BrokenCircuitError } from 'cockatiel';
import { beforeEach, expect, test } from 'vitest';
import { lastFailure, outageBreaker } from '../../src/tiers/breaker.js';
import { waitFor } from '../support/wait.js';

class Outage extends Error {}
class Local extends Error {}
class Answer extends Error {}

let states: string[];
let breaker: ReturnType<typeof outageBreaker>;

beforeEach(() => make(1));

function make(pauseMs: number): void {
  states = [];
  breaker = outageBreaker(
    {
      isOutage: (error) => error instanceof Outage,
      saysNothing: (error) => error instanceof Local,
      failures: 2,
      firstPauseMs: pauseMs,
      longestPauseMs: pauseMs,
    },
    { degraded: () => states.push('degraded'), recovered: () => states.push('recovered') },
  );
}

/** Whether it was asked at all: an open breaker asks nobody. */
async function fail(error: Error): Promise<boolean> {
  const reason = await breaker.execute(() => Promise.reject(error)).catch((rejected) => rejected);
  return !(reason instanceof BrokenCircuitError);
}

const trial = (error: Error) => waitFor(() => fail(error), { intervalMs: 1 });

test('so many outages in a row open it, and nobody is asked', async () => {
  make(3_600_000);
  await fail(new Outage());
  expect(states).toEqual([]);
  await fail(new Outage());
  expect(states).toEqual(['degraded']);
  expect(await fail(new Outage())).toBe(false);
});

test('it is told of once, however often a trial fails, and once when one succeeds', async () => {
  for (let i = 0; i < 2; i++) await fail(new Outage());
  for (let i = 0; i < 3; i++) await trial(new Outage());
  expect(states).toEqual(['degraded']);
  await waitFor(() => breaker.execute(async () => true));
  expect(states).toEqual(['degraded', 'recovered']);
});

test('an answer that is an error closes it: somebody answered', async () => {
  for (let i = 0; i < 2; i++) await fail(new Outage());
  await trial(new Answer());
  expect(states).toEqual(['degraded', 'recovered']);
});

test('what says nothing opens nothing', async () => {
  for (let i = 0; i < 5; i++) expect(await fail(new Local())).toBe(true);
  expect(states).toEqual([]);
});

test('what says nothing closes nothing: a trial that never left the house is no recovery', async () => {
  for (let i = 0; i < 2; i++) await fail(new Outage());
  for (let i = 0; i < 3; i++) await trial(new Local());
  expect(states).toEqual(['degraded']);
  await waitFor(() => breaker.execute(async () => true));
  expect(states).toEqual(['degraded', 'recovered']);
});

test('while it is open, the last failure that counted says why', async () => {
  make(3_600_000);
  expect(lastFailure(breaker)).toBeUndefined();
  const [first, last] = [new Outage('first'), new Outage('last')];
  await fail(first);
  await fail(new Local());
  expect(lastFailure(breaker)).toBe(first);
  await fail(last);
  await fail(new Answer());
  expect(lastFailure(breaker)).toBe(last);
});
