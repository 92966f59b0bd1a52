// @ts-check
/**
 * The server over a storage object, put together: read it first. It opens nothing and shares nothing, so that two may run in
 * one process; whoever opened the storage closes it, after `await app.close()`, which lets requests and trainings end.
 * @import { LoRAStorage } from 'lora-store'
 * @import { Catalogue } from './catalogue.js'
 * @import { Observe } from './observing.js'
 * @import { QueueLimits } from './training-queue.js'
 */
import rateLimit from '@fastify/rate-limit';
import Fastify from 'fastify';
import { SonaEngine } from 'lora-store';
import { Registry } from 'prom-client';
import { catalogue as madeUp } from './catalogue.js';
import { inTime } from './catalogue-in-time.js';
import { connectionsOf } from './connections.js';
import { forgetDeleted, goneFrom } from './deletions.js';
import { loggerOptions, RouteLog } from './logging.js';
import { createMetrics, readFrom, timeRequests } from './metrics.js';
import { listen, measuredLoad, readDegraded } from './observing.js';
import { answerWithProblems, clientErrorHandler, frameworkErrors, http } from './problem-handlers.js';
import { Problem } from './problems.js';
import { ranker } from './ranking.js';
import { adapterRoutes } from './routes/adapters.js';
import { eventsRoute } from './routes/events.js';
import { healthRoutes } from './routes/health.js';
import { metricsRoute } from './routes/metrics.js';
import { rankRoute } from './routes/rank.js';
import { expectGuarded, guard } from './token.js';
import { trainer } from './training.js';
import { TrainingQueue } from './training-queue.js';

/**
 * @typedef {object} ServerOptions
 * @property {LoRAStorage} storage
 * @property {string} [host] Where it is going to listen. Default 127.0.0.1; any that is not loopback takes a token.
 *   Listen at an address: on localhost Fastify has a second server, which `app.close()` does not wait for.
 * @property {string | undefined} [token]
 * @property {Catalogue} [catalogue]
 * @property {number} [catalogueTimeoutMs] For each of its answers; default 3000.
 * @property {Observe} [observe] Hears of loads, trainings, rollbacks and events of the storage. Must not throw.
 * @property {string} [logLevel] Default info; 'silent' for none.
 * @property {{ write(line: string): void }} [logStream] Default stdout.
 * @property {string | undefined} [name] Of this node, in its log.
 * @property {number} [requestsPerSecond] That one client may send; default 1000, 0 for no limit.
 * @property {Partial<QueueLimits>} [training]
 * @property {{ readonly draining: boolean }} [lifecycle] draining: not ready any more.
 * @property {Registry} [registry] Of metrics; default a new one.
 */

/** A thousand events of the longest names, and no more. */
const BODY_LIMIT = 320 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;

/** Throws where the server would be open to everybody. @param {ServerOptions} options */
export function buildServer({
  storage,
  host = '127.0.0.1',
  token,
  catalogue: given = madeUp,
  catalogueTimeoutMs = 3000,
  observe = () => undefined,
  logLevel = 'info',
  logStream,
  name,
  requestsPerSecond = 1000,
  training = {},
  lifecycle = { draining: false },
  registry = new Registry(),
}) {
  expectGuarded(host, token);
  const limits = { capacity: 100_000, concurrency: 2, minEvents: 10, retryMs: 1000, drainMs: 10_000, ...training };
  const limited = requestsPerSecond > 0;
  const catalogue = inTime(given, catalogueTimeoutMs);
  const metrics = createMetrics(registry);
  const app = Fastify({
    logger: loggerOptions({ level: logLevel, name, stream: logStream }),
    logController: new RouteLog(),
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // A name has 100 characters, of up to 12 in a URL.
    routerOptions: { maxParamLength: 1200 },
    // What a schema does not allow is refused, not mended.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
    // Connections that are kept alive are served to the end of a shutdown, and then closed.
    return503OnClosing: false,
    frameworkErrors: frameworkErrors({ limited }),
    clientErrorHandler,
    http,
  });
  app.removeContentTypeParser('text/plain');

  const engine = new SonaEngine(storage, { minTrainingEvents: limits.minEvents });
  const queue = new TrainingQueue(trainer({ engine, catalogue, metrics, log: app.log, observe }), limits);
  const load = measuredLoad(storage, metrics, observe);
  readFrom(metrics, storage, queue);
  const stopListening = listen(storage, metrics, app.log, observe);
  const isGone = goneFrom(storage, app.log);
  const stopForgetting = forgetDeleted(storage, queue, isGone);
  app.addHook('onReady', () => readDegraded(storage, metrics));
  const endConnections = connectionsOf(app.server);
  let closing = 0;
  app.addHook('preClose', async () => {
    closing = performance.now();
    if (app.server.listening) endConnections(Math.min(REQUEST_TIMEOUT_MS, limits.drainMs / 2));
  });
  // Once no request is under way any more.
  app.addHook('onClose', async () => {
    await queue.drain(closing);
    // Nobody reads the metrics any more.
    app.log.info(queue.counts, 'drained');
    stopForgetting();
    stopListening();
  });

  app.register(rateLimit, {
    global: limited,
    max: requestsPerSecond,
    timeWindow: 1000,
    errorResponseBuilder: (_, { ttl }) =>
      new Problem(429, 'TOO_MANY_REQUESTS', 'Slow down.', { retryAfterS: Math.ceil(ttl / 1000) }),
  });
  answerWithProblems(app, { limited });
  timeRequests(app, metrics);
  app.register(async (open) => healthRoutes(open, storage, lifecycle));
  app.register(async (guarded) => {
    // After the rate limit, which is an onRequest hook: guesses are requests too. Before a body is read.
    guarded.addHook('preParsing', guard(token));
    metricsRoute(guarded, registry);
    rankRoute(guarded, ranker({ load, catalogue, metrics, observe }));
    eventsRoute(guarded, queue, catalogue);
    adapterRoutes(guarded, { storage, load, queue, isGone, observe });
  });
  return app;
}
