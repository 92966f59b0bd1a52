/** Work that goes on behind a call's back (a fill, a publish) or that close() waits for. */
export class Tasks {
  readonly #pending = new Set<Promise<unknown>>();

  /** Remembers `work` until it ends; its failure is the business of whoever else holds it. */
  track<T>(work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    const done = () => this.#pending.delete(work);
    work.then(done, done);
    return work;
  }

  /** Resolves when nothing is left, what was added meanwhile included. */
  async drain(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }
}
