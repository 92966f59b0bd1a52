// @ts-check
/**
 * Events that wait to be trained on, by user and adapter. Promises: never more than `capacity` of them, those in training
 * included; and each that was accepted is waiting, trained or dropped, and counted as such at every moment.
 * @import { ViewingEvent } from 'lora-store'
 */

/** @typedef {{ readonly userId: string, readonly adapterName: string, readonly events: ViewingEvent[] }} Lot */

export class WaitingLots {
  #capacity;
  #minEvents;
  /** Too few to train on yet. @type {Map<string, Lot>} */
  #gathering = new Map();
  /** In the order in which they became enough. @type {Map<string, Lot>} */
  #ready = new Map();
  /** Events by user, those in training included. @type {Map<string, number>} */
  #ofUser = new Map();
  accepted = 0;
  waiting = 0;
  trained = 0;
  dropped = 0;

  /** @param {{ capacity: number, minEvents: number }} limits */
  constructor({ capacity, minEvents }) {
    this.#capacity = capacity;
    this.#minEvents = minEvents;
  }

  /** How many are enough to train on. */
  get ready() {
    return this.#ready.size;
  }

  /** Whether anything waits of this user, or is in training. @param {string} userId */
  has(userId) {
    return this.#ofUser.has(userId);
  }

  /** False: there is no room, and nothing was taken. @param {Lot} lot */
  add(lot) {
    if (!this.#makeRoom(lot.events.length)) return false;
    this.accepted += lot.events.length;
    this.#count(lot.userId, lot.events.length);
    const id = idOf(lot);
    const known = this.#ready.get(id) ?? this.#gathering.get(id);
    this.#put(id, { ...lot, events: [...(known?.events ?? []), ...lot.events] });
    return true;
  }

  /** What was taken and not trained: before what has come meanwhile. @param {Lot} lot */
  putBack(lot) {
    const id = idOf(lot);
    const later = this.#ready.get(id) ?? this.#gathering.get(id);
    this.#put(id, { ...lot, events: [...lot.events, ...(later?.events ?? [])] });
  }

  /** The oldest that is enough and may begin; it still counts as waiting. @param {(lot: Lot) => boolean} mayBegin */
  take(mayBegin) {
    for (const [id, lot] of this.#ready) {
      if (!mayBegin(lot)) continue;
      this.#ready.delete(id);
      return lot;
    }
    return undefined;
  }

  /**
   * Of one that was taken.
   * @param {Lot} lot
   * @param {'trained' | 'dropped'} end
   */
  settle({ userId, events }, end) {
    this[end] += events.length;
    this.#count(userId, -events.length);
  }

  /** All, or those of one user; not what was taken. @param {string} [userId] */
  drop(userId) {
    for (const lots of [this.#gathering, this.#ready]) {
      for (const lot of lots.values()) if (userId === undefined || lot.userId === userId) this.#drop(lots, lot);
    }
  }

  /**
   * @param {string} id
   * @param {Lot} lot
   */
  #put(id, lot) {
    if (lot.events.length < this.#minEvents) this.#gathering.set(id, lot);
    else {
      this.#gathering.delete(id);
      this.#ready.set(id, lot);
    }
  }

  /**
   * Those that wait for more of their kind, perhaps for ever, go first, the oldest before.
   * @param {number} events
   */
  #makeRoom(events) {
    if (this.waiting + events <= this.#capacity) return true;
    const gathered = [...this.#gathering.values()].reduce((sum, lot) => sum + lot.events.length, 0);
    if (this.waiting - gathered + events > this.#capacity) return false;
    for (const lot of this.#gathering.values()) {
      if (this.waiting + events <= this.#capacity) break;
      this.#drop(this.#gathering, lot);
    }
    return true;
  }

  /**
   * @param {Map<string, Lot>} lots
   * @param {Lot} lot
   */
  #drop(lots, lot) {
    lots.delete(idOf(lot));
    this.settle(lot, 'dropped');
  }

  /**
   * @param {string} userId
   * @param {number} events
   */
  #count(userId, events) {
    this.waiting += events;
    const ofUser = (this.#ofUser.get(userId) ?? 0) + events;
    if (ofUser > 0) this.#ofUser.set(userId, ofUser);
    else this.#ofUser.delete(userId);
  }
}

/** @param {Lot} lot */
export function idOf({ userId, adapterName }) {
  return `${userId} ${adapterName}`;
}
