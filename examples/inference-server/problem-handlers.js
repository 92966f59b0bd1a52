// @ts-check
/**
 * Every way in which Fastify can fail to answer, turned into a problem: errors of handlers and hooks, paths that are none,
 * and what is wrong before there is a route.
 * @import { Socket } from 'node:net'
 * @import { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
 */
import { STATUS_CODES } from 'node:http';
import { bodyOf, PROBLEM_JSON, Problem, problemOf, sendProblem } from './problems.js';

/** @param {FastifyInstance} app */
export function answerWithProblems(app) {
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error);
    // A Problem was meant: what led to it was told where it happened.
    if (problem.status >= 500 && problem !== error) request.log.error({ err: error }, 'failed');
    return sendProblem(reply, problem);
  });
  app.after(() => {
    // Whoever tries out paths is a client like any other.
    app.setNotFoundHandler({ preHandler: app.rateLimit() }, (_, reply) =>
      sendProblem(reply, new Problem(404, 'NOT_FOUND', 'There is nothing here.')),
    );
  });
}

/**
 * Of a URL that cannot be decoded, say: no hook has run, and no serializer is chosen.
 * @param {Error} error
 * @param {FastifyRequest} _
 * @param {FastifyReply} reply
 */
export function frameworkErrors(error, _, reply) {
  const { status, code } = problemOf(error);
  // Its message quotes the URL.
  const problem = new Problem(status, code, 'The URL cannot be understood.');
  reply
    .code(status)
    .type(PROBLEM_JSON)
    .send(JSON.stringify(bodyOf(problem)));
}

/** @type {Record<string, number>} */
const OF_PARSER = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 };

/**
 * Of bytes that are no HTTP: there is no request, and an answer only by hand.
 * @param {Error & { code?: string }} error
 * @param {Socket} socket
 */
export function clientErrorHandler(error, socket) {
  if (socket.destroyed || error.code === 'ECONNRESET') return;
  const status = OF_PARSER[error.code ?? ''] ?? 400;
  const problem = JSON.stringify(
    bodyOf(new Problem(status, 'BAD_REQUEST', 'This is no HTTP request, or an unfinished one.')),
  );
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `content-type: ${PROBLEM_JSON}`,
    `content-length: ${Buffer.byteLength(problem)}`,
    'connection: close',
  ];
  if (socket.writable) socket.write(`${head.join('\r\n')}\r\n\r\n${problem}`);
  socket.destroy(error);
}
