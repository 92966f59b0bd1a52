// @ts-check
/**
 * What the buttons do. Each asks a node as any client would, and says in one line what came of it.
 * @import { Node } from './nodes.js'
 * @import { Proxy } from './proxy.js'
 * @import { State } from './state.js'
 */
import { ask } from './nodes.js';
import { candidates, eventsOf } from './users.js';

/** Fewer than a training takes, so that one sees them wait; and more. */
const FEW = 4;
const ENOUGH = 20;

/** @typedef {{ node: Node, user: string }} Target */
/** @typedef {{ text: string, rows?: [string, string][], version?: number }} Result */

/**
 * @param {{ state: State, proxy: Proxy | undefined, cutMs: number, patienceMs?: number }} parts patienceMs: with a training.
 * @returns {Record<string, (target: Target) => Promise<Result>>}
 */
export function createActions({ state, proxy, cutMs, patienceMs = 15_000 }) {
  return {
    async rank({ node, user }) {
      const { ranked, adapter, fallback } = await must(ask(node, `/v1/users/${user}/rank`, { candidates }));
      const source = adapter
        ? `by version ${adapter.version}, from ${adapter.tier}${adapter.stale ? ', stale' : ''}`
        : `in the order given: ${fallback}`;
      const rows = ranked.slice(0, 5).map((/** @type {any} */ { id, score }) => [id, score.toFixed(3)]);
      return { text: `Ranked ${ranked.length} titles on node ${node.name}, ${source}.`, rows };
    },

    async events({ node, user }) {
      const { accepted, waiting } = await send(node, user, FEW);
      return { text: `Node ${node.name} took ${accepted} events; ${waiting} wait. A training takes 10.` };
    },

    async train({ node, user }) {
      const trained = nextTraining(state, node.name, user, patienceMs);
      // Both awaited from the start: a node that hangs lets the training be given up while the request is still waiting.
      const [{ version, events, lossFirst, lossLast, milliseconds }] = await Promise.all([
        trained.message,
        send(node, user, ENOUGH),
      ]).finally(trained.cancel);
      const loss = `loss ${lossFirst?.toFixed(4)} → ${lossLast?.toFixed(4)}`;
      const text = `Node ${node.name} trained on ${events} events in ${milliseconds.toFixed(0)} ms and saved version ${version}; ${loss}.`;
      return { text, version };
    },

    async rollback({ node, user }) {
      const { adapters } = await must(ask(node, `/v1/users/${user}/adapters`));
      const versions = adapters
        .map((/** @type {any} */ row) => row.version)
        .sort((/** @type {number} */ a, /** @type {number} */ b) => b - a);
      const [latest, before] = versions;
      if (before === undefined) throw new Error(`There is no version before ${latest ?? 'the first'}: train once.`);
      const path = `/v1/users/${user}/adapters/default/rollback`;
      const { version } = await must(ask(node, path, { version: before }));
      return { text: `Version ${version} is the latest now, with the weights of version ${before}.`, version };
    },

    async cut() {
      if (proxy === undefined) throw new Error('There is no Redis to cut: the nodes run on two tiers.');
      if (proxy.isCut) throw new Error('Redis is cut already.');
      proxy.cut();
      setTimeout(() => proxy.heal(), cutMs).unref();
      return { text: `Redis is cut for ${cutMs / 1000} s. Loads go on from memory and Postgres.` };
    },
  };
}

/** @param {Node} node @param {string} user @param {number} count */
function send(node, user, count) {
  return must(ask(node, `/v1/users/${user}/events`, { events: eventsOf(user, count) }));
}

/** @param {ReturnType<typeof ask>} asked */
async function must(asked) {
  const { status, body } = await asked;
  if (status >= 400) throw new Error(`${status}: ${body.detail}`);
  return body;
}

/** @param {State} state @param {string} name @param {string} user @param {number} patienceMs */
function nextTraining(state, name, user, patienceMs) {
  let cancel = () => {};
  const message = new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`Node ${name} has not trained within ${patienceMs / 1000} s.`));
    }, patienceMs);
    const stop = state.listen((node, said) => {
      if (node === name && said.type === 'trained' && said.userId === user) resolve(said);
    });
    cancel = () => {
      clearTimeout(timer);
      stop();
    };
  });
  return { message: /** @type {Promise<any>} */ (message), cancel };
}
