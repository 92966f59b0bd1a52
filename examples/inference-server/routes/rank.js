// @ts-check
/**
 * POST /v1/users/:id/rank: candidates by that user's adapter.
 * @import { FastifyInstance } from 'fastify'
 */
import { answers, noQuery, rankBody, ranking, userParams } from '../schemas.js';

/**
 * @param {FastifyInstance} app
 * @param {ReturnType<typeof import('../ranking.js').ranker>} rank
 */
export function rankRoute(app, rank) {
  const schema = { params: userParams, querystring: noQuery, body: rankBody, response: answers({ 200: ranking }) };
  app.post('/v1/users/:id/rank', { schema }, (request) => {
    const { id } = /** @type {{ id: string }} */ (request.params);
    const { candidates, adapterName = 'default' } = /** @type {{ candidates: string[], adapterName?: string }} */ (
      request.body
    );
    return rank(id, adapterName, candidates);
  });
}
