// @ts-check
/**
 * GET /metrics: for Prometheus, which sends a token with bearer_token.
 * @import { FastifyInstance } from 'fastify'
 * @import { Registry } from 'prom-client'
 */
import { answers, noQuery } from '../schemas.js';

/**
 * @param {FastifyInstance} app
 * @param {Registry} registry
 */
export function metricsRoute(app, registry) {
  const schema = { querystring: noQuery, response: answers({ 200: { type: 'string' } }) };
  // Rate-limited, as probes are not: whoever guesses tokens may do so here.
  app.get('/metrics', { schema, logLevel: 'warn' }, async (_, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );
}
