/** A node that takes a request and never answers, or is not there: a button says so, the launcher goes on, and it ends. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase } from '../../support/database.js';
import { waitFor } from '../../support/wait.js';

interface Node {
  readonly name: string;
  readonly url: string;
}
type Actions = Record<string, (target: { node: Node; user: string }) => Promise<unknown>>;
interface State {
  check(node: Node, patienceMs?: number): Promise<void>;
  snapshot(nodes: Node[], stack: object): { nodes: { parts: { state: string }[] }[] };
}
interface Closing {
  close(): Promise<void>;
}
interface Parts {
  state: State;
  proxy: undefined;
  cutMs: number;
  patienceMs: number;
}

const examples = new URL('../../../examples/live/', import.meta.url);
const { State } = (await import(new URL('state.js', examples).href)) as { State: new () => State };
const { createActions } = (await import(new URL('actions.js', examples).href)) as {
  createActions(parts: Parts): Actions;
};

const { Closing } = (await import(new URL('../servers/closing.js', examples).href)) as { Closing: new () => Closing };
const { ask, startNode } = (await import(new URL('nodes.js', examples).href)) as {
  startNode(
    closing: Closing,
    name: string,
    env: NodeJS.ProcessEnv,
    hear: () => void,
    shutdownMs: number,
  ): Promise<{ pid: number }>;
  ask(node: Node, path: string, body: undefined, patienceMs: number): Promise<unknown>;
};

const user = '00000000-0000-4000-8000-000000000201';
const unhandled: unknown[] = [];
let server: Server;
let asked = 0;

beforeAll(async () => {
  process.on('unhandledRejection', note);
  server = createServer({ pauseOnConnect: true }, () => asked++).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(() => {
  process.off('unhandledRejection', note);
  server?.close();
});

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function note(reason: unknown): void {
  unhandled.push(reason);
}

function press(action: string, url: string): Promise<unknown> {
  const actions = createActions({ state: new State(), proxy: undefined, cutMs: 0, patienceMs: 100 });
  return actions[action]?.({ node: { name: 'A', url }, user }) ?? Promise.reject(new Error(`no action ${action}`));
}

test('Train on a node that hangs: its training is given up while the request still waits for its answer', async () => {
  await expect(press('train', urlOf(server))).rejects.toThrow('Node A has not trained within 0.1 s.');
  await waitFor(() => asked === 1);
  // Node tells of a rejection that nobody handles once the microtasks are through.
  await new Promise(setImmediate);
  expect(unhandled).toEqual([]);
});

test('a node that hangs is unknown, not as it was', async () => {
  const up = { postgres: 'up', redis: 'up', bus: 'live', changeFeed: 'live' };
  const answering = createHttpServer((_, response) => response.end(JSON.stringify(up))).listen(0, '127.0.0.1');
  await once(answering, 'listening');
  const state = new State();
  const states = async (url: string, patienceMs: number) => {
    const node = { name: 'A', url };
    await state.check(node, patienceMs);
    return state.snapshot([node], {}).nodes[0]?.parts.map((part) => part.state);
  };
  expect(await states(urlOf(answering), 10_000)).toEqual(['up', 'up', 'live', 'live']);
  answering.closeAllConnections();
  answering.close();
  expect(await states(urlOf(server), 100)).toEqual(Array(4).fill('unknown'));
  const hanging = ask({ name: 'A', url: urlOf(server) }, '/readyz', undefined, 100);
  await expect(hanging).rejects.toThrow('Node A has not answered within 0.1 s.');
});

test('a node that has ended is named, whichever the button', async () => {
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const url = urlOf(gone);
  gone.close();
  await once(gone, 'close');
  for (const action of ['rank', 'events', 'train', 'rollback']) {
    await expect(press(action, url)).rejects.toThrow('Node A cannot be reached.');
  }
});

test('a node that hangs is ended all the same, when its time to shut down is over', async () => {
  const database = await createDatabase();
  try {
    const closing = new Closing();
    const env = { DATABASE_URL: database.url, REDIS_URL: '', LORA_STORE_API_TOKEN: randomBytes(32).toString('hex') };
    const { pid } = await startNode(closing, 'A', env, () => undefined, 100);
    process.kill(pid, 'SIGSTOP');
    await closing.close();
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  } finally {
    await database.drop();
  }
});
