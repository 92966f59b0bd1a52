// A node that closes while something is going on, for shutdown.test.ts.
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { LoRAStorage, UserLoRAAdapter } from 'lora-store';
import pg from 'pg';

const SMALL = { rank: 1, inputDim: 2, outputDim: 2 };
const resources = process.getActiveResourcesInfo();
let storage;
let begun = [];
let end = async () => {};

/** What became of a promise, as long as it is under way: nothing. */
function follow(promise) {
  const fate = { outcome: undefined };
  promise.then(
    () => {
      fate.outcome = 'done';
    },
    (error) => {
      fate.outcome = error.code ?? String(error);
    },
  );
  return fate;
}

export async function open(options) {
  storage = await LoRAStorage.open(options);
}

/** Over a Pool and a Redis client of the caller's, who ends them himself. */
export async function openOverClients({ postgres, redis, ...options }) {
  const sockets = [];
  const stream = () => {
    const socket = new Socket();
    return socket.once('connect', () => sockets.push(new Promise((resolve) => socket.once('close', resolve))));
  };
  const pool = new pg.Pool({ connectionString: postgres.primary, stream });
  const client = new Redis(redis);
  client.on('error', () => undefined);
  storage = await LoRAStorage.open({ ...options, postgres: { primary: pool, direct: postgres.direct }, redis: client });
  end = async () => {
    await pool.end();
    await Promise.all(sockets);
    // ioredis keeps a timer for what may never answer. This one is short; that of a duplicate left behind would not be.
    client.connector.disconnectTimeout = 10;
    client.disconnect();
    await sleep(100);
  };
}

export async function health() {
  return await storage.health();
}

/** Calls of every kind, which nobody waits for. */
export function begin(users) {
  begun = users.flatMap((userId) => [
    follow(storage.loadAdapter(userId)),
    follow(storage.loadAdapters([{ userId }, { userId, adapterName: 'none' }])),
    follow(storage.saveAdapter(new UserLoRAAdapter(userId, SMALL))),
    follow(storage.deleteAdapter(userId, 'other')),
    follow(storage.countAdapters(userId)),
    follow(storage.loadAdapterOr(userId, 'slow', () => new UserLoRAAdapter(userId, SMALL), { budgetMs: 100_000 })),
  ]);
}

/** Two closes at once and a call after them; what was under way by then, and what is left of it all. */
export async function close(userId) {
  const start = performance.now();
  const closes = [storage.close(), storage.close()];
  const late = follow(storage.loadAdapter(userId));
  await Promise.all(closes);
  const ms = performance.now() - start;
  await storage.close();
  await end();
  return { ms, late: late.outcome, outcomes: begun.map(({ outcome }) => outcome ?? 'under way'), left: await left() };
}

/** An open() that is refused. */
export async function refused(options) {
  const start = performance.now();
  const opening = follow(LoRAStorage.open(options));
  while (opening.outcome === undefined) await new Promise((resolve) => setImmediate(resolve));
  return { ms: performance.now() - start, outcome: opening.outcome, left: await left() };
}

/** From here on only what the package left behind keeps this process. */
export function leave() {
  setImmediate(() => process.channel.unref());
}

/** What is active that was not before, after some turns in which a socket that was reset may go. */
async function left() {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  const known = [...resources];
  return process.getActiveResourcesInfo().filter((resource) => {
    const at = known.indexOf(resource);
    if (at >= 0) known.splice(at, 1);
    return at < 0;
  });
}
