/** Room for others in long work on the event loop. Promises: whoever asks after each piece holds the loop for a few milliseconds. */
import { setImmediate as turn } from 'node:timers/promises';

const SLICE_MS = 4;

/** What to await after a piece of work; undefined, as a rule, where the loop may be held a little longer. */
export type Pause = () => Promise<void> | undefined;

/** One for all tasks of a piece of work: with one each, every task would have its slice before the event loop turns. */
export function pauses(): Pause {
  let since = performance.now();
  let pausing: Promise<void> | undefined;
  return () => {
    if (pausing === undefined && performance.now() - since >= SLICE_MS) {
      pausing = turn().then(() => {
        since = performance.now();
        pausing = undefined;
      });
    }
    return pausing;
  };
}
