/**
 * A server that answers with errors: a full Redis, a replica, one that is loading or wants a password. It costs round
 * trips and no time, so no breaker opens; but it is told of like an outage, once when it begins and once when it is over.
 */
import type { OutageEvents } from './breaker.js';

/** What a call asks for. Who refuses one refuses those after it as well: a replica removes nothing, a full one keeps nothing. */
export const READ = 1;
export const REMOVE = 2;
export const KEEP = 3;
export type Asks = typeof READ | typeof REMOVE | typeof KEEP;

/** Of one command, and not of the server: whoever may not GET may SET. What a script may not is an ERR. */
const OF_ONE_COMMAND = /^(NOPERM|ERR) /;
/** That others are granted says nothing for so long: it would be told that all is well, and the contrary, with each load. */
const QUIET_MS = 5000;

export class Refusals {
  readonly #events: OutageEvents;
  /** The most that was refused since everything was granted; 0: nothing. */
  #refused: Asks | 0 = 0;
  #deniedAt = Number.NEGATIVE_INFINITY;
  #silent = false;
  #since = 0;

  constructor(events: OutageEvents) {
    this.#events = events;
  }

  /** Events of a breaker beside it: while either lasts, the tier is degraded, and told to be only once. */
  get silence(): OutageEvents {
    return {
      degraded: (cause) => {
        this.#begin(cause);
        this.#silent = true;
      },
      recovered: () => {
        this.#silent = false;
        this.#end();
      },
    };
  }

  refused(asked: Asks, cause: Error): void {
    this.#begin(cause);
    if (asked > this.#refused) this.#refused = asked;
    if (OF_ONE_COMMAND.test(cause.message)) this.#deniedAt = performance.now();
  }

  granted(asked: Asks): void {
    if (this.#refused === 0 || asked < this.#refused || performance.now() - this.#deniedAt < QUIET_MS) return;
    this.#refused = 0;
    this.#end();
  }

  #begin(cause: Error): void {
    if (this.#silent || this.#refused > 0) return;
    this.#since = performance.now();
    this.#events.degraded(cause);
  }

  #end(): void {
    if (!this.#silent && this.#refused === 0) this.#events.recovered(performance.now() - this.#since);
  }
}
