// @ts-check
/**
 * The live page and what it watches: Postgres, Redis behind a proxy that can be cut, two inference servers. Goes on until a
 * signal, and leaves no process behind.
 * @import { PassThrough } from 'node:stream'
 */
import { randomBytes } from 'node:crypto';
import { LoRAStorage } from 'lora-store';
import { Closing } from '../servers/closing.js';
import { getPostgres } from '../servers/postgres.js';
import { heading, say, table } from '../servers/print.js';
import { getRedis } from '../servers/redis.js';
import { createActions } from './actions.js';
import { startNode } from './nodes.js';
import { startProxy } from './proxy.js';
import { buildPageServer } from './server.js';
import { State } from './state.js';
import { createTraffic, seed } from './traffic.js';

const CHECK_MS = 500;

/** @typedef {{ port: number, cutMs: number, traffic: boolean }} LiveOptions traffic: from the beginning. */

/** @param {LiveOptions} options */
export async function runLive(options) {
  const closing = new Closing();
  closing.onSignals();
  try {
    const url = await start(closing, options);
    say('', `The live page: ${url}`, 'Ctrl-C ends it.');
  } catch (error) {
    if (closing.begun) return;
    console.error(`\nlive: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
    await closing.close();
  }
}

/** @param {Closing} closing @param {LiveOptions} options */
async function start(closing, { port, cutMs, traffic: withTraffic }) {
  heading('Servers');
  const postgres = await getPostgres(closing);
  const redis = await getRedis(closing);
  const proxy = redis.url === false ? undefined : await startProxy(redis.url);
  if (proxy !== undefined) closing.add(() => proxy.close());

  const state = new State();
  // Before the nodes are there: they would hear of every user, and tell Redis while they are still connecting to it.
  const writer = await openWriter(closing, postgres.url, state);
  await seed(writer);

  const namespace = process.env.LORA_STORE_NAMESPACE || 'lora-live';
  const env = {
    DATABASE_URL: postgres.url,
    REDIS_URL: proxy?.url ?? '',
    LORA_STORE_NAMESPACE: namespace,
    // Whatever runs on this machine reaches their ports, and so does a foreign page, by a name that resolves to loopback.
    // Who wants to ask them by hand names a token of their own.
    LORA_STORE_API_TOKEN: process.env.LORA_STORE_API_TOKEN || randomBytes(32).toString('hex'),
  };
  const nodes = await Promise.all(
    ['A', 'B'].map((name) => startNode(closing, name, env, (message) => state.hear(name, message))),
  );
  /** The pages that are open. @type {Set<PassThrough>} */
  const feeds = new Set();
  const traffic = createTraffic(nodes, writer, () => feeds.size > 0);
  traffic.set(withTraffic);
  closing.add(() => traffic.close());
  const checks = setInterval(() => void Promise.all(nodes.map((node) => state.check(node))), CHECK_MS);
  closing.add(() => clearInterval(checks));

  const actions = createActions({ state, proxy, cutMs });
  const snapshot = () =>
    state.snapshot(nodes, {
      redis: proxy === undefined ? 'none' : proxy.isCut ? 'cut' : 'through',
      traffic: traffic.on,
    });
  const app = buildPageServer({ nodes, actions, traffic, snapshot, feeds });
  closing.add(() => app.close());
  const url = await app.listen({ host: '127.0.0.1', port });
  const rows = nodes.map(({ name, url, pid }) => [`Node ${name}`, `${url}, process ${pid}`]);
  table([], [['Postgres', postgres.words], ['Redis', redis.words], ...rows]);
  return url;
}

/** Somebody who writes as a batch job would: straight to Postgres. @param {Closing} closing @param {string} postgres @param {State} state */
async function openWriter(closing, postgres, state) {
  const writer = await LoRAStorage.open({
    postgres,
    redis: false,
    memory: false,
    changeFeed: false,
    createMissingUsers: true,
  });
  closing.add(() => writer.close());
  writer.on('invalidated', (detail) =>
    state.travels.heard('writer', detail, performance.timeOrigin + performance.now()),
  );
  return writer;
}
