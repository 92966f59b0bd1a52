// @ts-check
/**
 * Every way in which Fastify can fail to answer, turned into a problem: errors of handlers and hooks, paths that are none,
 * and what is wrong before there is a route.
 * @import { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
 */
import { bodyOf, PROBLEM_JSON, Problem, problemOf, sendProblem } from './problems.js';

/** @param {FastifyInstance} app */
export function answerWithProblems(app) {
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error);
    if (problem.status >= 500) request.log.error({ err: error }, 'failed');
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
  const problem = problemOf(error);
  reply
    .code(problem.status)
    .type(PROBLEM_JSON)
    .send(JSON.stringify(bodyOf(problem)));
}
