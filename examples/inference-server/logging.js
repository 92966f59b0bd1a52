// @ts-check
/**
 * Logs by pino, one JSON object a line. Promises: no user id, no token, no body, no address of a client, and so no URL (the
 * pattern of the route instead) and no message of an error, which may name a user.
 * @import { FastifyReply, FastifyRequest } from 'fastify'
 */
import { LogController } from 'fastify';

/**
 * @param {{ level: string, name?: string | undefined, stream?: { write(line: string): void } | undefined }} options
 */
export function loggerOptions({ level, name, stream }) {
  return {
    level,
    ...(name === undefined ? {} : { name }),
    ...(stream === undefined ? {} : { stream }),
    // Fastify hands these three to its own lines; what they leave out is in no line.
    serializers: { req: () => ({}), res: () => ({}), err: /** @type {(error: unknown) => any} */ (describe) },
  };
}

/** What Fastify says of requests: one line each, and nothing of what was in it. */
export class RouteLog extends LogController {
  /** @override */
  incomingRequest() {}

  /**
   * @override
   * @param {Error | null | undefined} _
   * @param {FastifyRequest} request
   * @param {FastifyReply} reply
   */
  requestCompleted(_, { method, routeOptions }, reply) {
    const ms = Math.round(1000 * reply.elapsedTime) / 1000;
    reply.log.info({ method, route: routeOptions.url ?? 'none', status: reply.statusCode, ms }, 'answered');
  }

  /** @override */
  defaultErrorLog() {}

  /** @override */
  routeNotFound() {}

  /**
   * @override
   * @param {Error} error
   * @param {FastifyRequest} _
   * @param {FastifyReply} reply
   */
  writeHeadError(error, _, reply) {
    reply.log.warn({ err: error }, 'an answer has an impossible head');
  }
}

/**
 * An error without its message: what kind, from where, and why.
 * @param {unknown} error
 * @returns {object}
 */
export function describe(error) {
  if (!(error instanceof Error)) return { type: typeof error };
  const { name, stack = '', cause } = error;
  const { code } = /** @type {{ code?: unknown }} */ (error);
  return {
    type: name,
    ...(typeof code === 'string' ? { code } : {}),
    // The message stands above the first frame, on as many lines as it has.
    stack: stack
      .split('\n')
      .filter((line) => /^ {4}at /.test(line))
      .slice(0, 8)
      .join('\n'),
    ...(cause === undefined ? {} : { cause: describe(cause) }),
  };
}
