// @ts-check
/**
 * Errors as problem details (RFC 9457). Promises: a client learns what it can do, and nothing of what is behind: no message
 * of a driver, no host, no stack. What is not listed here is a 500 that says no more than that.
 * @import { FastifyError, FastifyReply } from 'fastify'
 */
import { STATUS_CODES } from 'node:http';
import { LoRAStorageError } from 'lora-store';

export const PROBLEM_JSON = 'application/problem+json';

/** Of a problem that nobody reads. */
export const HUNG_UP = 'REQUEST_ABORTED';

/** An error that this server answers with on purpose. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} detail
   * @param {{ retryAfterS?: number, members?: object, cause?: unknown }} [more] members: beyond those of the RFC. cause: for
   *   the log.
   */
  constructor(status, code, detail, { retryAfterS, members, cause } = {}) {
    super(detail, { cause });
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
    this.members = members;
  }
}

/** @type {Record<string, [status: number, detail: string, retryAfterS?: number]>} */
const OF_STORAGE = {
  ADAPTER_NOT_FOUND: [404, 'There is no such adapter, or no such version of it.'],
  USER_NOT_FOUND: [404, 'There is no such user.'],
  VERSION_CONFLICT: [409, 'Another version has become the latest meanwhile: load it and try again.'],
  INVALID_ADAPTER: [400, 'The request names something that no adapter can have.'],
  EMBEDDING_UNUSABLE: [422, 'A content has no embedding that can be used.'],
  ADAPTER_CORRUPT: [500, 'What is stored of this adapter cannot be read: roll back to a version that can.'],
  SAVE_OUTCOME_UNKNOWN: [504, 'Whether it was written is not known: look at the latest version before you repeat it.'],
  STORAGE_UNAVAILABLE: [503, 'The storage cannot be reached.', 1],
  STORAGE_OVERLOADED: [503, 'Too many requests are waiting for the storage.', 1],
  STORAGE_CLOSED: [503, 'This server is shutting down.', 1],
};

/** These speak of the request alone. */
const SPEAKING = new Set(['INVALID_ADAPTER', 'EMBEDDING_UNUSABLE', 'VERSION_CONFLICT']);

/**
 * @param {unknown} error
 * @returns {Problem}
 */
export function problemOf(error) {
  if (error instanceof Problem) return error;
  if (error instanceof LoRAStorageError) {
    const known = OF_STORAGE[error.code];
    if (known === undefined) return internal();
    const [status, detail, retryAfterS] = known;
    const said = SPEAKING.has(error.code) ? error.message : detail;
    return new Problem(status, error.code, said, retryAfterS === undefined ? {} : { retryAfterS });
  }
  const { statusCode = 500, code = '', message } = /** @type {Partial<FastifyError>} */ (error ?? {});
  // Node's, while Fastify reads a body; one of a connection to something behind this server has no status.
  if (statusCode === 400 && code === 'ECONNRESET')
    return new Problem(400, HUNG_UP, 'The request was not sent to its end.');
  // Fastify's own: the body, its type, its size, its schema, a URL that is none.
  const ofRequest = statusCode >= 400 && statusCode < 500 && code.startsWith('FST_ERR_');
  return ofRequest ? new Problem(statusCode, code.slice('FST_ERR_'.length), message ?? '') : internal();
}

/**
 * @param {FastifyReply} reply
 * @param {Problem} problem
 */
export function sendProblem(reply, problem) {
  if (problem.retryAfterS !== undefined) reply.header('retry-after', problem.retryAfterS);
  return reply.code(problem.status).type(PROBLEM_JSON).send(bodyOf(problem));
}

/** @param {Problem} problem */
export function bodyOf({ status, code, message, members }) {
  const type = `urn:lora-store:problem:${code.toLowerCase().replaceAll('_', '-')}`;
  return { type, title: STATUS_CODES[status] ?? 'Error', status, detail: message, ...members };
}

function internal() {
  return new Problem(500, 'INTERNAL', 'Something went wrong here. The log of this server says more.');
}
