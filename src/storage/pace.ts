/** No more than so many a second: for work in the background that shares its servers with those who wait for an answer. */
import { setTimeout as sleep } from 'node:timers/promises';

export class Pace {
  readonly #perSecond: number;
  #next = 0;

  /** Undefined: no bound. */
  constructor(perSecond = Number.POSITIVE_INFINITY) {
    this.#perSecond = perSecond;
  }

  /** The most that go together, so that no second has twice its share. */
  get burst(): number {
    return Math.max(1, this.#perSecond);
  }

  /** Resolves when `count` more may begin, after a pause for those before. Time that was lost is not made up for. */
  async admit(count: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const waitMs = this.#next - performance.now();
    if (waitMs > 0) {
      await sleep(waitMs, undefined, signal && { signal }).catch((error: unknown) => {
        throw signal?.aborted ? signal.reason : error;
      });
    }
    this.#next = Math.max(this.#next, performance.now()) + (count / this.#perSecond) * 1000;
  }
}
