// @ts-check
/**
 * Why a part is away, for who watches the page and knows neither ioredis nor pg: what a driver says of a connection is said
 * in our words. What a server answered, and what the storage says itself, stays as it is.
 */

/** @type {Record<string, string>} */
const PARTS = { memory: 'Memory', redis: 'Redis', postgres: 'Postgres', bus: 'Bus', 'change-feed': 'Change feed' };

/** @type {[said: RegExp, means: string][]} */
const CONNECTION = [
  [/ECONNREFUSED/, 'nobody answers at its address'],
  // As ioredis says it; then the system, pg, and the storage of its two listeners.
  [/^Stream isn't writeable|^Connection is closed|^Reached the max retries per request/, 'connection lost'],
  [/ECONNRESET|Connection terminated|was cut$|^the server closed the connection/, 'connection lost'],
];

/** @param {string} part As the storage names it. */
export function nameOf(part) {
  return PARTS[part] ?? part;
}

/** @param {string} cause A driver's message, or the storage's. */
export function whyAway(cause) {
  const means = CONNECTION.find(([said]) => said.test(cause))?.[1];
  // It is shown behind the name of the part.
  return means ?? cause.replace(/^.* (?=did not answer within \d+ ms$)/, '');
}
