/**
 * A circuit breaker that tells of an outage once, when it begins and when it is over, however often it is probed in
 * between. What counts as an outage is the tier's to say: an error the server answered with is not one.
 */
import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleWhen,
} from 'cockatiel';

export interface OutageEvents {
  degraded(cause: Error): void;
  recovered(afterMs: number): void;
}

export interface BreakerOptions {
  readonly isOutage: (error: Error) => boolean;
  /** Failures that never reached the other side: they neither open the breaker nor, as a trial, close it. */
  readonly saysNothing: (error: Error) => boolean;
  /** Failures in a row that open it. */
  readonly failures: number;
  /** Pause before a call is let through again, doubled up to the largest. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

/** 'half-open': a trial is under way. */
export type BreakerState = 'closed' | 'half-open' | 'open';

export function breakerState({ state }: CircuitBreakerPolicy): BreakerState {
  if (state === CircuitState.Closed) return 'closed';
  return state === CircuitState.HalfOpen ? 'half-open' : 'open';
}

/** The last that counted: while it is open, why it is. */
export function lastFailure({ lastFailure }: CircuitBreakerPolicy): Error | undefined {
  return lastFailure !== undefined && 'error' in lastFailure ? lastFailure.error : undefined;
}

export function outageBreaker(options: BreakerOptions, events: OutageEvents): CircuitBreakerPolicy {
  // To cockatiel a trial that fails without being handled has succeeded.
  const fails = (error: Error) =>
    options.saysNothing(error) ? breaker.state === CircuitState.HalfOpen : options.isOutage(error);
  const breaker: CircuitBreakerPolicy = circuitBreaker(handleWhen(fails), {
    halfOpenAfter: new ExponentialBackoff({ initialDelay: options.firstPauseMs, maxDelay: options.longestPauseMs }),
    breaker: new ConsecutiveBreaker(options.failures),
  });
  let since: number | undefined;
  breaker.onBreak((reason) => {
    if (since !== undefined) return;
    since = performance.now();
    events.degraded('error' in reason ? reason.error : new Error('it stopped answering'));
  });
  breaker.onReset(() => {
    if (since !== undefined) events.recovered(performance.now() - since);
    since = undefined;
  });
  return breaker;
}
