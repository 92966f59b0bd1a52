// @ts-check
/**
 * Loads of the last half minute: how many each tier answered and in what time, as a histogram on a log scale that moves on
 * with them.
 */
const TIERS = /** @type {const} */ (['memory', 'redis', 'postgres']);
export const TARGET_MS = 2;
const PER_DECADE = 8;
/** 1 µs to 1 s; what is beyond counts at the end. */
const FIRST = -3;
const DECADES = 6;

/** Lower ends of the bins, in milliseconds. */
export const bins = Array.from({ length: PER_DECADE * DECADES }, (_, i) => 10 ** (FIRST + i / PER_DECADE));

/** @typedef {{ node: string, tier: string, milliseconds: number, stale: boolean, verifiedAgeMs: number, at: number }} Load */

export class Loads {
  /** @type {Load[]} */
  #loads = [];
  #windowMs;

  /** @param {number} windowMs */
  constructor(windowMs) {
    this.#windowMs = windowMs;
  }

  /** @param {Load} load */
  add(load) {
    this.#loads.push(load);
  }

  /** @param {number} now */
  snapshot(now) {
    const begin = this.#loads.findIndex(({ at }) => at > now - this.#windowMs);
    this.#loads.splice(0, begin === -1 ? this.#loads.length : begin);
    return { total: this.#loads.length, tiers: TIERS.map((tier) => this.#tier(tier)) };
  }

  /** What one node's loads were answered by, and how old what they got was. @param {string} node */
  of(node) {
    const own = this.#loads.filter((load) => load.node === node);
    const share = (/** @type {string} */ tier) => own.filter((load) => load.tier === tier).length / (own.length || 1);
    return {
      loads: own.length,
      shares: Object.fromEntries(TIERS.map((tier) => [tier, share(tier)])),
      stale: own.filter((load) => load.stale).length,
      verifiedAgeMs: own.length === 0 ? null : Math.max(...own.map((load) => load.verifiedAgeMs)),
    };
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
