// @ts-check
/**
 * Writes on their way: who saved, and when each other node heard of it. They are known by their revision, which no two
 * writes share.
 */
const KEPT = 200;

/** @typedef {{ via: string, at: number }} Heard */
/** @typedef {{ revision: number, userId: string, from: string | undefined, heard: Map<string, Heard> }} Write */

export class Travels {
  /** @type {Map<number, Write>} */
  #writes = new Map();

  /**
   * @param {string} by
   * @param {{ revision: number, userId: string, via: string }} detail
   * @param {number} at
   */
  heard(by, { revision, userId, via }, at) {
    const write = this.#writes.get(revision) ?? { revision, userId, from: undefined, heard: new Map() };
    if (via === 'self') write.from = by;
    write.heard.set(by, { via, at });
    this.#writes.set(revision, write);
    const [oldest] = this.#writes.keys();
    if (this.#writes.size > KEPT && oldest !== undefined) this.#writes.delete(oldest);
  }

  /**
   * The ear of a node may be faster than the answer to its own save, and then it does not report that as its own. Called when
   * the node says that it saved, on the channel on which it says what it heard: so after that.
   * @param {string} by
   * @param {string} userId
   */
  saved(by, userId) {
    const write = [...this.#writes.values()].reverse().find((write) => write.userId === userId);
    if (write !== undefined) write.from ??= by;
  }

  /** Newest first. @param {number} count */
  newest(count) {
    return [...this.#writes.values()]
      .reverse()
      .flatMap(({ revision, userId, from, heard }) => {
        const sent = from === undefined ? undefined : heard.get(from);
        if (from === undefined || sent === undefined) return [];
        return [...heard].flatMap(([to, { via, at }]) =>
          to === from ? [] : [{ revision, userId, from, to, via, at, delayMs: Math.max(0, at - sent.at) }],
        );
      })
      .slice(0, count);
  }
}
