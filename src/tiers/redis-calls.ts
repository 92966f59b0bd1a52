/**
 * One call of Redis: in time or not at all, past a breaker that opens at the first silence, counted and told of when it
 * fails. Never throws. What one load asks shares one deadline, so that it costs at most one budget.
 */
import { BrokenCircuitError, type CircuitBreakerPolicy } from 'cockatiel';
import { DeadlineError, within } from '../deadline.js';
import { type BreakerOptions, type BreakerState, breakerState, type OutageEvents, outageBreaker } from './breaker.js';
import { type Asks, Refusals } from './refusals.js';

/** Of a call that had only the rest of a load's time: Redis has just answered that load, if slowly. */
class RestSpentError extends DeadlineError {}

/** The first silence opens it; an answer that is an error costs one round trip, and needs no breaker. */
const BREAKER: BreakerOptions = {
  isOutage: (error) => !isRefusal(error),
  saysNothing: (error) => error instanceof RestSpentError,
  failures: 1,
  firstPauseMs: 250,
  longestPauseMs: 5000,
};

/** Whoever counts what failed. */
export interface Failures {
  /** timedOut: it was not answered. */
  count(timedOut: boolean): void;
}

export class RedisCalls {
  readonly #timeoutMs: number;
  readonly #refusals: Refusals;
  readonly #breaker: CircuitBreakerPolicy;
  readonly #failures: Failures;

  constructor(timeoutMs: number, events: OutageEvents, failures: Failures) {
    this.#timeoutMs = timeoutMs;
    this.#failures = failures;
    this.#refusals = new Refusals(events);
    this.#breaker = outageBreaker(BREAKER, this.#refusals.silence);
  }

  get breaker(): BreakerState {
    return breakerState(this.#breaker);
  }

  /** The call's result, or undefined after a failure that was counted, and where it was not made at all. */
  async try<T>(asks: Asks, call: () => Promise<T>, deadline: number): Promise<T | undefined> {
    const leftMs = Math.ceil(deadline - performance.now());
    if (leftMs <= 0) return undefined;
    try {
      const result = await this.#breaker.execute(() => this.#within(call(), leftMs));
      // 0: a script that changed nothing was refused nothing.
      if (result !== 0) this.#refusals.granted(asks);
      return result;
    } catch (error) {
      // Nothing was asked: the breaker is open. Asking it is also what lets it try again.
      if (!(error instanceof BrokenCircuitError)) this.failed(asks, error as Error);
      return undefined;
    }
  }

  /**
   * A question whether it answers at all, past the breaker like any call, so that it finds out for the others. Rejects
   * where it does not. What is refused here and granted there is another matter: it tells nothing of refusals.
   */
  async ping(ping: () => Promise<unknown>): Promise<void> {
    try {
      await this.#breaker.execute(() => this.#within(ping(), this.#timeoutMs));
    } catch (error) {
      if (!(error instanceof BrokenCircuitError)) this.#failures.count(error instanceof DeadlineError);
      throw error;
    }
  }

  /** A call that was part of another, and failed while that did not. */
  failed(asks: Asks, error: Error): void {
    this.#failures.count(error instanceof DeadlineError);
    if (isRefusal(error)) this.#refusals.refused(asks, error);
  }

  async #within<T>(answer: Promise<T>, ms: number): Promise<T> {
    try {
      return await within(answer, ms, 'Redis');
    } catch (error) {
      throw error instanceof DeadlineError && ms < this.#timeoutMs / 2 ? new RestSpentError('Redis', ms) : error;
    }
  }
}

/** It answered, with an error. */
export function isRefusal(error: Error): boolean {
  return error.name === 'ReplyError';
}
