// @ts-check
/**
 * Users who are known to be gone. Promises: late word of the deletion that made them so is told from word of what came after
 * it, in the order in which it comes.
 */

/** Whoever is forgotten sooner may lose events that came right after the deletion. */
const MOST = 1000;

export class GoneUsers {
  /** The latest at the end, with the adapters of which there was word since. @type {Map<string, Set<string>>} */
  #told = new Map();

  /** @param {string} userId */
  has(userId) {
    return this.#told.has(userId);
  }

  /** @param {string} userId */
  add(userId) {
    this.#told.delete(userId);
    this.#told.set(userId, new Set());
    const [oldest = ''] = this.#told.size > MOST ? this.#told.keys() : [];
    this.#told.delete(oldest);
  }

  /** @param {string} userId */
  delete(userId) {
    this.#told.delete(userId);
  }

  /**
   * There is word of a change of this adapter.
   * @param {string} userId
   * @param {string} adapterName
   */
  heard(userId, adapterName) {
    const told = this.#told.get(userId);
    // An adapter of an erased user changes twice, when its versions go and when its head does, and whoever erased them has
    // heard of the first: a second word after that is of a life that began since, though it be over.
    if (told?.has(adapterName)) this.#told.delete(userId);
    else told?.add(adapterName);
  }
}
