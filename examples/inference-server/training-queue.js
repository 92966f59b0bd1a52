// @ts-check
/**
 * Events that wait to be trained on. Promises: one training of an adapter at a time, what comes meanwhile trains together in
 * the next one, and never more than `capacity` events at once. It lives in memory: what a crash takes with it is lost, so
 * keep the events in a log of yours if they must not be.
 * @import { ViewingEvent } from 'lora-store'
 */

/** @typedef {{ readonly userId: string, readonly adapterName: string, readonly events: ViewingEvent[] }} Lot */
/** @typedef {{ capacity: number, concurrency: number, minEvents: number, retryMs: number }} QueueLimits */

export class TrainingQueue {
  /** @type {(lot: Lot) => Promise<'done' | 'again'>} */
  #train;
  #limits;
  /** Too few to train on yet. @type {Map<string, Lot>} */
  #gathering = new Map();
  /** In the order in which they became enough. @type {Map<string, Lot>} */
  #ready = new Map();
  /** @type {Map<string, Promise<void>>} */
  #running = new Map();
  #draining = false;
  /** @type {NodeJS.Timeout | undefined} */
  #pause;
  /** Events in all three. */
  waiting = 0;
  dropped = 0;

  /**
   * @param {(lot: Lot) => Promise<'done' | 'again'>} train Never rejects. 'again': nothing was changed, and later it may work.
   * @param {QueueLimits} limits
   */
  constructor(train, limits) {
    this.#train = train;
    this.#limits = limits;
  }

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
    if (!this.#makeRoom(events.length)) return false;
    this.waiting += events.length;
    this.#put({ userId, adapterName, events: [...events] });
    this.#start();
    return true;
  }

  /**
   * Nothing of this user's waits or is trained when it resolves.
   * @param {string} userId
   */
  async forget(userId) {
    this.#dropAll(userId);
    const mine = [...this.#running].filter(([id]) => id.startsWith(`${userId} `));
    await Promise.all(mine.map(([, training]) => training));
    // One that could not be saved was put back.
    this.#dropAll(userId);
  }

  /** Trains whatever is enough, and gives up the rest. */
  async drain() {
    this.#draining = true;
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#start();
    while (this.#running.size > 0) await Promise.all(this.#running.values());
    for (const [id, lot] of this.#gathering) this.#drop(this.#gathering, id, lot);
  }

  /** @param {Lot} lot */
  #put(lot) {
    const id = `${lot.userId} ${lot.adapterName}`;
    const known = this.#ready.get(id) ?? this.#gathering.get(id);
    const whole = known ?? lot;
    if (known !== undefined) known.events.push(...lot.events);
    if (whole.events.length < this.#limits.minEvents) this.#gathering.set(id, whole);
    else {
      this.#gathering.delete(id);
      this.#ready.set(id, whole);
    }
  }

  #start() {
    if (this.#pause !== undefined) return;
    for (const [id, lot] of this.#ready) {
      if (this.#running.size >= this.#limits.concurrency) return;
      if (this.#running.has(id)) continue;
      this.#ready.delete(id);
      this.#running.set(id, this.#run(id, lot));
    }
  }

  /**
   * @param {string} id
   * @param {Lot} lot
   */
  async #run(id, lot) {
    const outcome = await this.#train(lot);
    this.#running.delete(id);
    if (outcome === 'again' && !this.#draining) this.#putBack(id, lot);
    else {
      this.waiting -= lot.events.length;
      if (outcome === 'again') this.dropped += lot.events.length;
    }
    this.#start();
  }

  /**
   * Before what has come meanwhile, and not at once: what is away is away for everybody.
   * @param {string} id
   * @param {Lot} lot
   */
  #putBack(id, lot) {
    const later = this.#ready.get(id) ?? this.#gathering.get(id);
    this.#gathering.delete(id);
    this.#ready.set(id, { ...lot, events: [...lot.events, ...(later?.events ?? [])] });
    this.#pause ??= setTimeout(() => {
      this.#pause = undefined;
      this.#start();
    }, this.#limits.retryMs);
  }

  /**
   * Those that wait for more of their kind, perhaps for ever, go first, the oldest before.
   * @param {number} events
   */
  #makeRoom(events) {
    if (this.waiting + events <= this.#limits.capacity) return true;
    const gathered = [...this.#gathering.values()].reduce((sum, lot) => sum + lot.events.length, 0);
    if (this.waiting - gathered + events > this.#limits.capacity) return false;
    for (const [id, lot] of this.#gathering) {
      if (this.waiting + events <= this.#limits.capacity) break;
      this.#drop(this.#gathering, id, lot);
    }
    return true;
  }

  /** @param {string} userId */
  #dropAll(userId) {
    for (const lots of [this.#gathering, this.#ready]) {
      for (const [id, lot] of lots) if (lot.userId === userId) this.#drop(lots, id, lot);
    }
  }

  /**
   * @param {Map<string, Lot>} lots
   * @param {string} id
   * @param {Lot} lot
   */
  #drop(lots, id, lot) {
    lots.delete(id);
    this.waiting -= lot.events.length;
    this.dropped += lot.events.length;
  }
}
