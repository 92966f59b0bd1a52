/**
 * What replicas have answered reaches Redis when the primary has confirmed it: a few bytes for each, behind the caller's back. One
 * question at a time, for all that waits: nobody slows these loads down, and the primary's connections are for those who do wait.
 */
import { AdapterCorruptError } from '../errors.js';
import type { Entry } from '../tiers/entry.js';
import type { PostgresTier } from '../tiers/postgres.js';
import type { Asking } from './begun.js';
import type { Tasks } from './tasks.js';

/** Each holds a body. Where so many wait, what comes stays out of Redis until its next load. */
const ENOUGH_WAITING = 256;

export class Confirming {
  readonly #postgres: PostgresTier;
  readonly #tasks: Tasks;
  readonly #ended: (asked: Asking, confirmed: Entry | undefined) => void;
  #waiting: Asking[] = [];
  #asking = false;

  /** ended: the primary's answer; undefined: there is none, and the token of this load is still in Redis. */
  constructor(postgres: PostgresTier, tasks: Tasks, ended: (asked: Asking, confirmed: Entry | undefined) => void) {
    this.#postgres = postgres;
    this.#tasks = tasks;
    this.#ended = ended;
  }

  /** Of loads that a replica has answered. */
  add(answered: readonly Asking[]): void {
    if (this.#waiting.length >= ENOUGH_WAITING) this.#giveUp(answered);
    else this.#waiting.push(...answered);
    if (!this.#asking) this.#tasks.track(this.#askAll());
  }

  async #askAll(): Promise<void> {
    this.#asking = true;
    try {
      while (this.#waiting.length > 0) await this.#ask(this.#waiting.splice(0));
    } finally {
      this.#asking = false;
    }
  }

  async #ask(answered: readonly Asking[]): Promise<void> {
    const asking = answered.flatMap((one) => {
      const question = one.replicated && one.steps.settle(one.replicated.entry, performance.now());
      return question === undefined ? [] : [{ one, question }];
    });
    const [first] = asking;
    if (first === undefined) return;
    const keys = asking.map(({ one }) => one.key);
    const held = asking.map(({ question }) => question.held);
    const entries = await this.#postgres.loadMany(keys, held, first.question.asked).catch(() => undefined);
    if (entries === undefined) {
      // What waits would be waited for in vain, one timeout after the other.
      this.#giveUp([...answered, ...this.#waiting.splice(0)]);
      return;
    }
    for (const [i, { one }] of asking.entries()) {
      const entry = entries[i];
      this.#ended(one, entry instanceof AdapterCorruptError ? undefined : entry);
    }
  }

  /** Callers have their answers: Redis goes without. */
  #giveUp(answered: readonly Asking[]): void {
    for (const one of answered) this.#ended(one, undefined);
  }
}
