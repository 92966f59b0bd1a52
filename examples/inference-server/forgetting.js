// @ts-check
/**
 * What of the queue goes with a user who is erased, here or by another node. Promises: nothing of a user begins while that is
 * under way or not known yet; and what came after the answer to a deletion is not taken for what was there before it.
 * @import { WaitingLots } from './waiting-lots.js'
 */
import { setTimeout as delay } from 'node:timers/promises';
import { GoneUsers } from './gone-users.js';

/**
 * @typedef {object} Parts
 * @property {WaitingLots} lots
 * @property {number} retryMs Between two questions whether a user is gone, where there is no answer.
 * @property {(userId: string) => Promise<unknown>} trained Nothing of this user is trained any more.
 * @property {() => void} letGo A user of whom nothing was to begin.
 */
/** @typedef {(userId: string) => Promise<boolean | undefined>} IsGone Never rejects. undefined: ask again. */
/** @typedef {{ again: boolean, ended: Promise<void> }} Question again: its answer may be of a moment before. */

export class Forgetting {
  #parts;
  /** Users of whom nothing begins, and how many want that. @type {Map<string, number>} */
  #held = new Map();
  /** About users who may be gone. @type {Map<string, Question>} */
  #questions = new Map();
  #gone = new GoneUsers();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** Whether nothing of this user may begin. @param {string} userId */
  holds(userId) {
    return this.#held.has(userId);
  }

  /** This user may be there again. @param {string} userId */
  back(userId) {
    this.#gone.delete(userId);
  }

  /**
   * Drops what waits of this user, and what comes until `erase` has ended, which begins once nothing of theirs is trained.
   * @template T
   * @param {string} userId
   * @param {() => Promise<T>} erase
   */
  forget(userId, erase) {
    const { lots, trained } = this.#parts;
    return this.#hold(userId, async () => {
      lots.drop(userId);
      await trained(userId);
      try {
        const erased = await erase();
        this.#noteGone(userId);
        return erased;
      } finally {
        // Also where it fails: half a deletion is going to be repeated.
        lots.drop(userId);
      }
    });
  }

  /**
   * Erases a part of what there is of this user, of whom nothing begins meanwhile. Where it was the last, forgets the rest.
   * @param {string} userId
   * @param {() => Promise<number>} erase How much there was to erase.
   * @param {IsGone} isGone
   */
  forgetIfLast(userId, erase, isGone) {
    const ask = () => {
      this.back(userId);
      return this.#ask(userId, isGone);
    };
    return this.#hold(userId, async () => {
      let erased = 0;
      try {
        erased = await erase();
      } catch (error) {
        // It may have been erased all the same, and whoever tries again is told that there is nothing.
        void ask();
        throw error;
      }
      // Before that is known there is no answer: nobody could tell what came after it from what came before.
      if (erased > 0) await ask();
      return erased;
    });
  }

  /**
   * Somebody else has changed this adapter, and may have erased its user: if so, forgets what is here of them, and begins none
   * of it before it is known.
   * @param {string} userId
   * @param {string} adapterName
   * @param {IsGone} isGone
   */
  async forgetIf(userId, adapterName, isGone) {
    this.#gone.heard(userId, adapterName);
    if (this.#parts.lots.has(userId) || this.#questions.has(userId)) await this.#ask(userId, isGone);
  }

  /**
   * Asks whether this user is gone, until it is known or nothing is here of them; if so, forgets what is.
   * @param {string} userId
   * @param {IsGone} isGone
   */
  #ask(userId, isGone) {
    const under = this.#questions.get(userId);
    if (under !== undefined) {
      under.again = true;
      return under.ended;
    }
    /** @type {Question} */
    const question = { again: false, ended: Promise.resolve() };
    this.#questions.set(userId, question);
    question.ended = this.#hold(userId, async () => {
      const { lots, retryMs } = this.#parts;
      let gone;
      do {
        question.again = false;
        gone = await isGone(userId);
        if (gone === undefined) await delay(retryMs);
      } while (question.again || (gone === undefined && lots.has(userId)));
      // At once: the next word is a question of its own.
      this.#questions.delete(userId);
      if (gone === false) this.back(userId);
      // Word of a deletion comes late, and to whoever deleted, too: where it is known, what is here came after it.
      if (gone === true && !this.#gone.has(userId)) await this.#drop(userId);
    });
    return question.ended;
  }

  /** Of a user who is gone, also what the training under way puts back. @param {string} userId */
  async #drop(userId) {
    const { lots, trained } = this.#parts;
    lots.drop(userId);
    // Not after that training: it may bring the user back.
    this.#noteGone(userId);
    await trained(userId);
    lots.drop(userId);
  }

  /** @param {string} userId */
  #noteGone(userId) {
    this.#gone.add(userId);
    const under = this.#questions.get(userId);
    if (under !== undefined) under.again = true;
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
      this.#parts.letGo();
    }
  }
}
