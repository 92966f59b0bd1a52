// @ts-check
/**
 * Loads of the last half minute: how many each tier answered and in what time, as a histogram on a log scale that moves on
 * with them. Of more than fit, the newest: so it stays bounded however many there are, and whether or not anybody looks.
 */
const TIERS = /** @type {const} */ (['memory', 'redis', 'postgres']);
export const TARGET_MS = 2;
/** Loads in a window, some 1,700 a second. */
export const MOST = 50_000;
const PER_DECADE = 8;
/** 1 µs to 1 s; what is beyond counts at the end. */
const FIRST = -3;
const DECADES = 6;

/** Lower ends of the bins, in milliseconds. */
export const bins = Array.from({ length: PER_DECADE * DECADES }, (_, i) => 10 ** (FIRST + i / PER_DECADE));

/** @typedef {{ node: string, tier: string, milliseconds: number, stale: boolean, verifiedAgeMs: number, at: number }} Load */

export class Loads {
  /** Oldest first. Those before #first have left. @type {Load[]} */
  #loads = [];
  #first = 0;
  #windowMs;

  /** @param {number} windowMs */
  constructor(windowMs) {
    this.#windowMs = windowMs;
  }

  get held() {
    return this.#loads.length;
  }

  /** @param {Load} load */
  add(load) {
    this.#loads.push(load);
    this.#leave(load.at);
    // Not one by one: each cut moves all that stay.
    if (this.#first > this.#loads.length / 2) this.#cut();
  }

  /** @param {number} now */
  snapshot(now) {
    this.#leave(now);
    this.#cut();
    return { total: this.#loads.length, tiers: TIERS.map((tier) => this.#tier(tier)) };
  }

  /** What one node's loads were answered by, and how old what they got was, as of a snapshot. @param {string} node */
  of(node) {
    const own = this.#loads.filter((load) => load.node === node);
    const share = (/** @type {string} */ tier) => own.filter((load) => load.tier === tier).length / (own.length || 1);
    return {
      loads: own.length,
      shares: Object.fromEntries(TIERS.map((tier) => [tier, share(tier)])),
      stale: own.filter((load) => load.stale).length,
      verifiedAgeMs: own.reduce(
        (most, load) => Math.max(most ?? 0, load.verifiedAgeMs),
        /** @type {number | null} */ (null),
      ),
    };
  }

  /** @param {number} now */
  #leave(now) {
    const begin = now - this.#windowMs;
    const isOver = (/** @type {Load} */ load) => load.at <= begin || this.#loads.length - this.#first > MOST;
    for (let oldest = this.#loads[this.#first]; oldest && isOver(oldest); oldest = this.#loads[this.#first])
      this.#first++;
  }

  #cut() {
    this.#loads.splice(0, this.#first);
    this.#first = 0;
  }

  /** @param {string} tier */
  #tier(tier) {
    const times = this.#loads.filter((load) => load.tier === tier).map(({ milliseconds }) => milliseconds);
    times.sort((a, b) => a - b);
    /** @type {number[]} */
    const counts = Array(bins.length).fill(0);
    for (const time of times) {
      const bin = Math.floor((Math.log10(time) - FIRST) * PER_DECADE);
      const kept = Math.min(Math.max(bin, 0), bins.length - 1);
      counts[kept] = (counts[kept] ?? 0) + 1;
    }
    const quantile = (/** @type {number} */ q) =>
      times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? null;
    return { tier, counts, loads: times.length, p50: quantile(0.5), p99: quantile(0.99) };
  }
}
