/**
 * Users as they come: Zipf-distributed, the first by far the most often, so that a cache of a few serves many; and how many
 * a cache must hold for a hit rate.
 */

/** Of YCSB, and near what one sees. */
const EXPONENT = 0.99;

/** Share of all requests that are for user 0, 1, 2 and so on; their sum is 1. */
export function popularity(users: number): Float64Array {
  const weights = Float64Array.from({ length: users }, (_, rank) => (rank + 1) ** -EXPONENT);
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

/** Draws a user from a number of [0, 1). */
export function drawerOf(shares: Float64Array): (random: number) => number {
  let sum = 0;
  const cumulative = shares.map((share) => {
    sum += share;
    return sum;
  });
  return (random) => {
    let low = 0;
    let high = cumulative.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((cumulative[middle] as number) > random) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/**
 * Entries with which a least-recently-used cache answers that share of independent requests: Che's approximation (an entry
 * stays for the same time T whatever it is; T is sought, and those that stay are summed up).
 */
export function entriesForHitRate(shares: Float64Array, hitRate: number): number {
  const hits = (time: number) => shares.reduce((sum, share) => sum - share * Math.expm1(-share * time), 0);
  let low = 0;
  let high = 1;
  while (hits(high) < hitRate) high *= 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (hits(middle) < hitRate) low = middle;
    else high = middle;
  }
  return Math.round(shares.reduce((sum, share) => sum - Math.expm1(-share * high), 0));
}
