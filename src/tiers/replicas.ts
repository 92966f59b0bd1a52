/**
 * The read replicas of a storage: each load goes to the next of those in rotation; the others are looked after until they return.
 * They are judged by the server that the change feed listens to, and that has to be the primary: where nobody asks that one for
 * a while, since replicas answer all, it is asked who it is.
 */
import type { Coherence } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
import type { Entry } from './entry.js';
import type { Replica, ReplicaStats } from './replica.js';

/** Between two looks at each. */
const LOOK_EVERY_MS = 1000;

export class Replicas {
  readonly #all: readonly Replica[];
  readonly #coherence: Coherence;
  readonly #primary: () => Promise<number | undefined>;
  #looking: Promise<void> | undefined;
  #turn = 0;
  #timer: NodeJS.Timeout | undefined;

  /** primary: the server and database that are the primary now; undefined: not known. Never rejects. */
  constructor(all: readonly Replica[], coherence: Coherence, primary: () => Promise<number | undefined>) {
    this.#all = all;
    this.#coherence = coherence;
    this.#primary = primary;
  }

  /** Resolves once each has answered or failed to. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.#timer.unref();
    await this.look();
  }

  get stats(): ReplicaStats[] {
    return this.#all.map(({ stats }) => stats);
  }

  /** The one whose turn it is; undefined: none can give an answer that counts. */
  next(): Replica | undefined {
    return this.#first(({ state }) => state === 'up');
  }

  /** The primary is away: what the first that answers at least shows of these, by key, in one question to each. */
  async shown(keys: readonly Key[]): Promise<ReadonlyMap<string, Entry>> {
    const first = this.next() ?? this.#first(({ state }) => state === 'behind');
    const others = this.#all.filter((replica) => replica !== first && replica.state !== 'down');
    for (const replica of first === undefined ? [] : [first, ...others]) {
      const answers = await replica.load(keys, []);
      const shown = keys.flatMap((key, i) => (answers[i] === undefined ? [] : [[key.id, answers[i]] as const]));
      if (shown.length > 0) return new Map(shown);
    }
    return new Map();
  }

  #first(wanted: (replica: Replica) => boolean): Replica | undefined {
    for (let tried = 0; tried < this.#all.length; tried++) {
      this.#turn = (this.#turn + 1) % this.#all.length;
      const replica = this.#all[this.#turn] as Replica;
      if (wanted(replica)) return replica;
    }
    return undefined;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#all.map((replica) => replica.close()));
  }

  /** Looks how each is. Never rejects. */
  async look(): Promise<void> {
    this.#looking ??= this.#lookAtPrimary().finally(() => {
      this.#looking = undefined;
    });
    await Promise.all([this.#looking, ...this.#all.map((replica) => replica.look())]);
  }

  async #lookAtPrimary(): Promise<void> {
    const primary = await this.#primary();
    if (primary !== undefined) this.#coherence.answered(primary);
  }
}
