/** A bound on how long an answer is waited for. cockatiel's timeout policy costs 23 µs a call, half a Redis round trip; this one a timer. */

export class DeadlineError extends Error {
  constructor(what: string, ms: number) {
    super(`${what} did not answer within ${ms} ms`);
    this.name = 'DeadlineError';
  }
}

/** `promise`, or a DeadlineError after `ms`. The work goes on unheard: whoever must not leak its result looks at `promise` too. */
export function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    // An event loop that stalled runs its timers first; one turn of polling lets an answer that is already here win.
    const timer = setTimeout(() => setImmediate(() => reject(new DeadlineError(what, ms))), ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
