// @ts-check
/**
 * When what waits is trained on. Promises: one training of an adapter at a time, what comes meanwhile trains together in the
 * next one, and nothing of a user is trained while that user is erased. It lives in memory: what a crash takes with it is
 * lost, so keep the events in a log of yours if they must not be.
 * @import { ViewingEvent } from 'lora-store'
 * @import { Lot } from './waiting-lots.js'
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Forgetting } from './forgetting.js';
import { idOf, WaitingLots } from './waiting-lots.js';

/** @typedef {'trained' | 'dropped' | 'again'} Outcome again: nothing was changed, and later it may work. */
/**
 * @typedef {object} QueueLimits
 * @property {number} capacity Events.
 * @property {number} concurrency Trainings.
 * @property {number} minEvents Fewer wait for more.
 * @property {number} retryMs Between an 'again' and the next training.
 * @property {number} drainMs How long a shutdown begins trainings.
 */

export class TrainingQueue {
  /** @type {(lot: Lot) => Promise<Outcome>} */
  #train;
  #limits;
  #lots;
  /** @type {Map<string, { userId: string, done: Promise<void> }>} */
  #running = new Map();
  /** @type {Promise<void> | undefined} */
  #pause;
  #isOver = false;
  #turned = () => {};

  /**
   * @param {(lot: Lot) => Promise<Outcome>} train Never rejects.
   * @param {QueueLimits} limits
   */
  constructor(train, limits) {
    this.#train = train;
    this.#limits = limits;
    this.#lots = new WaitingLots(limits);
    this.forgetting = new Forgetting({
      lots: this.#lots,
      retryMs: limits.retryMs,
      trained: (userId) => Promise.all([...this.#running.values()].map((one) => one.userId === userId && one.done)),
      letGo: () => this.#start(),
    });
  }

  /** Events since the start, and what became of them. */
  get counts() {
    const { accepted, waiting, trained, dropped } = this.#lots;
    return { accepted, waiting, trained, dropped };
  }

  /** Trainings. */
  get running() {
    return this.#running.size;
  }

  /**
   * False: there is no room, and nothing was taken.
   * @param {string} userId
   * @param {string} adapterName
   * @param {readonly ViewingEvent[]} events
   */
  add(userId, adapterName, events) {
    if (!this.#lots.add({ userId, adapterName, events: [...events] })) return false;
    this.#start();
    return true;
  }

  /**
   * Trains whatever is enough, again where it takes that, for `drainMs` from the beginning of the shutdown; gives up the rest.
   * @param {number} [begun] On the clock of performance.now().
   */
  async drain(begun = performance.now()) {
    const restMs = begun + this.#limits.drainMs - performance.now();
    // Where a user is held, and nobody trains, no turn comes.
    const timer = setTimeout(() => this.#giveUp(), restMs);
    if (restMs <= 0) this.#giveUp();
    while (this.#running.size > 0 || (this.#lots.ready > 0 && !this.#isOver)) {
      await new Promise((resolve) => {
        this.#turned = () => resolve(undefined);
      });
    }
    clearTimeout(timer);
    this.#isOver = true;
    this.#lots.drop();
  }

  #giveUp() {
    this.#isOver = true;
    this.#turned();
  }

  /** Whatever may begin. To be called when anything has come or ended. */
  #start() {
    const mayBegin = (/** @type {Lot} */ lot) => !this.#running.has(idOf(lot)) && !this.forgetting.holds(lot.userId);
    while (this.#pause === undefined && !this.#isOver && this.#running.size < this.#limits.concurrency) {
      const lot = this.#lots.take(mayBegin);
      if (lot === undefined) break;
      this.#running.set(idOf(lot), { userId: lot.userId, done: this.#run(lot) });
    }
    this.#turned();
  }

  /** @param {Lot} lot */
  async #run(lot) {
    const outcome = await this.#train(lot);
    this.#running.delete(idOf(lot));
    if (outcome === 'again') {
      this.#lots.putBack(lot);
      // What is away is away for everybody.
      this.#pause ??= delay(this.#limits.retryMs).then(() => {
        this.#pause = undefined;
        this.#start();
      });
    } else {
      this.#lots.settle(lot, outcome);
      // Dropped, it may have been saved all the same.
      this.forgetting.back(lot.userId);
    }
    this.#start();
  }
}
