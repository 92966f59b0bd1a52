// @ts-check
/**
 * The live page's own server: the page, the feed behind it (server-sent events), and the buttons. Promises: it answers on
 * loopback alone, under its own name alone (a foreign name that resolves to it would be DNS rebinding), and it acts only
 * for its own page (another page's request has another Origin). Another program of this machine could press the buttons:
 * they touch nothing but the users who exist for the page.
 * @import { Node } from './nodes.js'
 * @import { Result, Target } from './actions.js'
 */
import { PassThrough } from 'node:stream';
import Fastify from 'fastify';
import { Problem, problemOf, sendProblem } from '../inference-server/problems.js';
import { composePage } from './page.js';
import { USERS } from './users.js';

const FRAME_MS = 250;

/** @typedef {Record<string, (target: Target) => Promise<Result>>} Actions */

/**
 * @typedef {object} Parts
 * @property {Node[]} nodes
 * @property {Actions} actions
 * @property {{ set(on: boolean): void }} traffic
 * @property {() => object} snapshot
 * @property {Set<PassThrough>} feeds Of the pages that are open; kept here.
 */

/** @param {Parts} parts */
export function buildPageServer({ nodes, actions, traffic, snapshot, feeds }) {
  const app = Fastify({ bodyLimit: 1024, forceCloseConnections: true });
  app.removeContentTypeParser('text/plain');
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'cache-control': 'no-store',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
    if (!isOurs(request)) throw new Problem(403, 'FORBIDDEN', 'Only for the page of this server.');
  });
  app.setErrorHandler((error, _, reply) => {
    const problem = problemOf(error);
    if (problem.status >= 500) console.error('live:', error);
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler(() => {
    throw new Problem(404, 'NOT_FOUND', 'There is nothing here.');
  });

  const { html, policy } = composePage();
  app.get('/', (_, reply) =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', policy).send(html),
  );

  app.get('/feed', (_, reply) => {
    const feed = new PassThrough();
    feeds.add(feed);
    feed.on('close', () => feeds.delete(feed));
    feed.write(frame(snapshot()));
    return reply.type('text/event-stream').send(feed);
  });
  const timer = setInterval(() => {
    if (feeds.size === 0) return;
    const text = frame(snapshot());
    // Who reads slowly misses frames, and none is kept for them.
    for (const feed of feeds) if (!feed.writableNeedDrain) feed.write(text);
  }, FRAME_MS);
  app.addHook('preClose', async () => {
    clearInterval(timer);
    for (const feed of feeds) feed.end();
  });

  const target = {
    type: 'object',
    additionalProperties: false,
    required: ['node', 'user'],
    properties: { node: { enum: nodes.map(({ name }) => name) }, user: { enum: USERS } },
  };
  for (const [name, act] of Object.entries(actions)) {
    app.post(`/actions/${name}`, { schema: { body: target } }, async (request) => {
      const { node: wanted, user } = /** @type {{ node: string, user: string }} */ (request.body);
      const node = nodes.find(({ name }) => name === wanted);
      if (node === undefined) throw new Problem(404, 'NOT_FOUND', 'There is no such node.');
      try {
        return await act({ node, user });
      } catch (error) {
        return { text: error instanceof Error ? error.message : String(error), failed: true };
      }
    });
  }
  const on = { type: 'object', additionalProperties: false, required: ['on'], properties: { on: { type: 'boolean' } } };
  app.post('/actions/traffic', { schema: { body: on } }, async (request) => {
    const body = /** @type {{ on: boolean }} */ (request.body);
    traffic.set(body.on);
    return { text: `Background traffic is ${body.on ? 'on' : 'off'}.` };
  });
  return app;
}

/** @param {{ method: string, headers: { host?: string | undefined, origin?: string | undefined }, socket: { localPort?: number | undefined } }} request */
export function isOurs({ headers: { host = '', origin }, method, socket }) {
  // As browsers write it: at port 80 without the port.
  const names = ['127.0.0.1', 'localhost'].map((name) => new URL(`http://${name}:${socket.localPort}`).host);
  if (!names.includes(host)) return false;
  return method === 'GET' ? origin === undefined || origin === `http://${host}` : origin === `http://${host}`;
}

/** @param {object} data */
function frame(data) {
  return `data: ${JSON.stringify(data)}\n\n`;
}
