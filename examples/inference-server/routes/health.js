// @ts-check
/**
 * /healthz: this process answers. /readyz: it can serve, which takes Postgres; without Redis it is degraded, and serves.
 * Open to probes, which have no token; they name no user and no host.
 * @import { FastifyInstance } from 'fastify'
 * @import { Health, LoRAStorage } from 'lora-store'
 */
import { Problem } from '../problems.js';
import { alive, answers, noQuery, ready } from '../schemas.js';

/**
 * @param {FastifyInstance} app
 * @param {LoRAStorage} storage
 * @param {{ readonly draining: boolean }} lifecycle
 */
export function healthRoutes(app, storage, lifecycle) {
  const options = (/** @type {object} */ answer) => ({
    schema: { querystring: noQuery, response: answers({ 200: answer }) },
    config: { rateLimit: /** @type {const} */ (false) },
    logLevel: /** @type {const} */ ('warn'),
  });

  app.get('/healthz', options(alive), async () => ({ status: 'alive' }));

  /** @type {Promise<Health> | undefined} */
  let asking;
  app.get('/readyz', options(ready), async () => {
    if (lifecycle.draining) throw new Problem(503, 'DRAINING', 'This server is shutting down.', { retryAfterS: 1 });
    // However many probes there are, one question at a time.
    asking ??= storage.health().finally(() => (asking = undefined));
    const health = await asking;
    if (health.postgres === 'down') {
      throw new Problem(503, 'NOT_READY', 'Postgres does not answer.', { retryAfterS: 1, members: health });
    }
    const degraded = Object.values(health).includes('down');
    return { status: degraded ? 'degraded' : 'ready', ...health };
  });
}
