// @ts-check
/**
 * When what waits is trained on. Promises: one training of an adapter at a time, what comes meanwhile trains together in the
 * next one, and nothing of a user is trained while that user is erased. It lives in memory: what a crash takes with it is
 * lost, so keep the events in a log of yours if they must not be.
 * @import { ViewingEvent } from 'lora-store'
 * @import { Lot } from './waiting-lots.js'
 */
import { setTimeout as delay } from 'node:timers/promises';
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

/** Whoever is forgotten sooner may lose events that came right after the deletion. */
const MOST_GONE = 1000;

export class TrainingQueue {
  /** @type {(lot: Lot) => Promise<Outcome>} */
  #train;
  #limits;
  #lots;
  /** @type {Map<string, { userId: string, done: Promise<void> }>} */
  #running = new Map();
  /** Users of whom nothing begins, and how many want that. @type {Map<string, number>} */
  #held = new Map();
  /** Who is asked about; again: there was word of them meanwhile. @type {Map<string, { again: boolean, ended: Promise<void> }>} */
  #questions = new Map();
  /** Users who were gone when last heard of, the latest of them. @type {Set<string>} */
  #gone = new Set();
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
   * Drops what waits of this user, and what comes until `erase` has ended, which begins once nothing of theirs is trained.
   * @template T
   * @param {string} userId
   * @param {() => Promise<T>} erase
   */
  forget(userId, erase) {
    return this.#hold(userId, async () => {
      this.#lots.drop(userId);
      await Promise.all([...this.#running.values()].map((one) => one.userId === userId && one.done));
      try {
        const erased = await erase();
        this.#noteGone(userId);
        return erased;
      } finally {
        // Also where it fails: half a deletion is going to be repeated.
        this.#lots.drop(userId);
      }
    });
  }

  /**
   * Erases a part of what there is of this user, of whom nothing begins meanwhile. Where it was the last, forgets the rest.
   * @template T
   * @param {string} userId
   * @param {() => Promise<T>} erase
   * @param {() => Promise<boolean | undefined>} isGone As of forgetIf.
   */
  forgetIfLast(userId, erase, isGone) {
    return this.#hold(userId, async () => {
      const erased = await erase();
      const gone = await isGone();
      if (gone === true) await this.forget(userId, async () => {});
      if (gone === undefined) void this.forgetIf(userId, isGone);
      return erased;
    });
  }

  /**
   * Somebody else may have erased this user: if so, forgets what is here of them, and begins none of it before it is known.
   * @param {string} userId
   * @param {() => Promise<boolean | undefined>} isGone Never rejects. undefined: ask again.
   */
  forgetIf(userId, isGone) {
    const under = this.#questions.get(userId);
    if (under !== undefined) {
      // Its answer may be of a moment before.
      under.again = true;
      return under.ended;
    }
    const question = { again: false, ended: Promise.resolve() };
    this.#questions.set(userId, question);
    question.ended = this.#hold(userId, () => this.#ask(userId, isGone, question));
    return question.ended;
  }

  /**
   * @param {string} userId
   * @param {() => Promise<boolean | undefined>} isGone
   * @param {{ again: boolean }} question
   */
  async #ask(userId, isGone, question) {
    try {
      while (this.#lots.has(userId)) {
        question.again = false;
        const gone = await isGone();
        // Word of one deletion comes several times, and to whoever deleted, too: what is here came after the first.
        if (gone === true && !this.#gone.has(userId)) await this.forget(userId, async () => {});
        if (gone !== true) this.#gone.delete(userId);
        if (gone === undefined) await delay(this.#limits.retryMs);
        else if (!question.again) return;
      }
      // Nobody asked what has happened to this user, and the next word may be of another deletion.
      this.#gone.delete(userId);
    } finally {
      // At once: the next word is a question of its own.
      this.#questions.delete(userId);
    }
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
    const mayBegin = (/** @type {Lot} */ lot) => !this.#running.has(idOf(lot)) && !this.#held.has(lot.userId);
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
      this.#gone.delete(lot.userId);
    }
    this.#start();
  }

  /** @param {string} userId */
  #noteGone(userId) {
    this.#gone.add(userId);
    const [oldest = ''] = this.#gone.size > MOST_GONE ? this.#gone : [];
    this.#gone.delete(oldest);
  }

  /**
   * Nothing of this user's begins until the work has ended.
   * @template T
   * @param {string} userId
   * @param {() => Promise<T>} work
   */
  async #hold(userId, work) {
    this.#held.set(userId, 1 + (this.#held.get(userId) ?? 0));
    try {
      return await work();
    } finally {
      const others = (this.#held.get(userId) ?? 0) - 1;
      if (others > 0) this.#held.set(userId, others);
      else this.#held.delete(userId);
      this.#start();
    }
  }
}
