// @ts-check
/**
 * The catalogue is somebody else's, and may be away. Promises: whoever asks it gets an answer or a CatalogueError, in time.
 * @import { Catalogue } from './catalogue.js'
 */
import { Problem } from './problems.js';

/** It did not answer. What it says that it does not have is another matter, and will not come. */
export class CatalogueError extends Problem {
  /** @param {unknown} cause */
  constructor(cause) {
    super(503, 'CATALOGUE_UNAVAILABLE', 'The catalogue does not answer.', { retryAfterS: 1, cause });
  }
}

/**
 * @param {Catalogue} catalogue
 * @param {number} timeoutMs For each answer.
 * @returns {Catalogue}
 */
export function inTime(catalogue, timeoutMs) {
  return {
    embeddings: (contentIds) => within(timeoutMs, () => catalogue.embeddings(contentIds)),
    preference: (userId) => within(timeoutMs, () => catalogue.preference(userId)),
  };
}

/**
 * @template T
 * @param {number} ms
 * @param {() => T | Promise<T>} ask
 */
async function within(ms, ask) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([ask(), late]);
  } catch (cause) {
    throw new CatalogueError(cause);
  } finally {
    clearTimeout(timer);
  }
}
