// @ts-check
/**
 * Every way in which Fastify or Node can fail to answer, turned into a problem: errors of handlers and hooks, paths that are
 * none, and what is wrong before there is a route.
 * @import { IncomingMessage, ServerResponse } from 'node:http'
 * @import { Socket } from 'node:net'
 * @import { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
 */
import { STATUS_CODES } from 'node:http';
import { bodyOf, HUNG_UP, PROBLEM_JSON, Problem, problemOf, sendProblem } from './problems.js';

/** Of Node's server: it would refuse requests without Host by itself. expectHttp does. */
export const http = { requireHostHeader: false };

/**
 * @param {FastifyInstance} app
 * @param {{ limited: boolean }} options limited: @fastify/rate-limit has a limit.
 */
export function answerWithProblems(app, { limited }) {
  app.server.on(
    'checkExpectation',
    (/** @type {IncomingMessage} */ request, /** @type {ServerResponse} */ response) => {
      // The body may come or not.
      response.setHeader('connection', 'close');
      app.routing(request, response);
    },
  );
  app.addHook('preParsing', expectHttp);
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error);
    if (problem.code === HUNG_UP) request.log.debug('a client hung up');
    // A Problem without a cause was meant.
    if (problem.status >= 500 && (problem !== error || problem.cause !== undefined))
      request.log.error({ err: error }, 'failed');
    return sendProblem(reply, problem);
  });
  app.after(() => {
    // Whoever tries out paths is a client like any other.
    const tried = limited ? { preHandler: app.rateLimit() } : {};
    app.setNotFoundHandler(tried, (_, reply) =>
      sendProblem(reply, new Problem(404, 'NOT_FOUND', 'There is nothing here.')),
    );
  });
}

/**
 * What Node and Fastify leave to us, after the rate limit of a route; where there is none this comes first, and costs nothing.
 * @param {FastifyRequest} request
 */
async function expectHttp({ raw, headers: { host, expect = '100-continue' } }) {
  if (raw.httpVersion !== '1.1') return;
  if (host === undefined) throw new Problem(400, 'HOST_MISSING', 'A request of HTTP/1.1 has the header host.');
  if (/(^|\W)100-continue(\W|$)/i.test(expect)) return;
  throw new Problem(417, 'EXPECTATION_FAILED', 'This server knows no expectation but 100-continue.');
}

/**
 * Of a URL that cannot be decoded, say: no hook has run, and no serializer is chosen.
 * @param {{ limited: boolean }} options As of answerWithProblems.
 */
export function frameworkErrors({ limited }) {
  return async (
    /** @type {Error} */ error,
    /** @type {FastifyRequest} */ request,
    /** @type {FastifyReply} */ reply,
  ) => {
    const { status, code } = problemOf(error);
    // Its message quotes the URL.
    const unclear = new Problem(status, code, 'The URL cannot be understood.');
    const { server } = request;
    const counted = limited ? server.rateLimit().call(server, request, reply) : Promise.resolve();
    const problem = await counted.then(() => unclear, problemOf);
    sendProblem(reply.serializer(JSON.stringify), problem);
  };
}

/** @type {Record<string, number>} */
const OF_PARSER = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 };

/**
 * Of bytes that are no HTTP: there is no request, and an answer only by hand, where none has begun on this connection.
 * @param {Error & { code?: string }} error
 * @param {Socket & { _httpMessage?: ServerResponse | null }} socket _httpMessage: what is answered now; Node has no other name.
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
  if (socket.writable && !socket._httpMessage?.headersSent) socket.write(`${head.join('\r\n')}\r\n\r\n${problem}`);
  socket.destroy(error);
}
