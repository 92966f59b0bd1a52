/** Waits for a condition and never for a length of time: a test that sleeps is slow on a good day and wrong on a bad one. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface WaitOptions {
  /** Default 10,000. */
  timeoutMs?: number;
  /** Pause between two looks. Default 10. */
  intervalMs?: number;
  /** What is waited for, in words. Default: the source of the condition. */
  what?: string;
}

/**
 * Resolves with the condition's first truthy value. A condition that throws has not come true yet. When the time is
 * up, the error says what was waited for, and has the last error of the condition as its cause.
 */
export async function waitFor<Value>(
  condition: () => Value | Promise<Value>,
  { timeoutMs = 10_000, intervalMs = 10, what = condition.toString() }: WaitOptions = {},
): Promise<Exclude<Value, undefined | null | false | 0 | ''>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value) return value as Exclude<Value, undefined | null | false | 0 | ''>;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) {
      throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`, cause === undefined ? undefined : { cause });
    }
    await sleep(intervalMs);
  }
}
