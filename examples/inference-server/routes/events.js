// @ts-check
/**
 * POST /v1/users/:id/events: takes what the user did, and answers before anything is trained.
 * @import { FastifyInstance } from 'fastify'
 * @import { ViewingEvent } from 'lora-store'
 * @import { Catalogue } from '../catalogue.js'
 * @import { TrainingQueue } from '../training-queue.js'
 */
import { Problem } from '../problems.js';
import { known } from '../ranking.js';
import { accepted, answers, eventsBody, noQuery, userParams } from '../schemas.js';

/**
 * @param {FastifyInstance} app
 * @param {TrainingQueue} queue
 * @param {Catalogue} catalogue
 */
export function eventsRoute(app, queue, catalogue) {
  const schema = { params: userParams, querystring: noQuery, body: eventsBody, response: answers({ 202: accepted }) };
  app.post('/v1/users/:id/events', { schema }, async (request, reply) => {
    const { id } = /** @type {{ id: string }} */ (request.params);
    const { events, adapterName = 'default' } = /** @type {{ events: ViewingEvent[], adapterName?: string }} */ (
      request.body
    );
    // Now, while there is somebody to tell.
    const contents = events.map(({ contentId }) => contentId);
    known(contents, await catalogue.embeddings(contents));
    // A user id is of any letter case, and one user of the queue.
    if (!queue.add(id.toLowerCase(), adapterName, events)) {
      throw new Problem(503, 'TRAINING_QUEUE_FULL', 'Too many events wait to be trained on.', { retryAfterS: 5 });
    }
    return reply.code(202).send({ accepted: events.length, waiting: queue.counts.waiting });
  });
}
