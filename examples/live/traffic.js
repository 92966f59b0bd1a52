// @ts-check
/**
 * Gentle traffic, so that there is something to see: rankings on both nodes, now and then a training, and now and then a
 * save by a writer that has no Redis, of which the nodes hear from Postgres alone. While nobody looks, it rests: it would
 * write to the database all night.
 * @import { LoRAStorage } from 'lora-store'
 * @import { Node } from './nodes.js'
 */
import { AdapterNotFoundError, UserLoRAAdapter } from 'lora-store';
import { ask } from './nodes.js';
import { candidates, eventsOf, USERS } from './users.js';

const STEP_MS = 40;
const TRAIN_EVERY = 60;
const WRITE_EVERY = 45;
/** The page's users would fill a disk in a day. */
const VERSIONS_KEPT = 20;

/** @param {number} count */
const harmonic = (count) => Array.from({ length: count }, (_, i) => 1 / (i + 1)).reduce((sum, share) => sum + share);
const REACH = USERS.map((_, i) => harmonic(i + 1));

/** By Zipf's law: the second user half as often as the first, the third a third as often. @param {number} random From 0, below 1. */
export function zipfUser(random) {
  const at = random * harmonic(USERS.length);
  return USERS[REACH.findIndex((reach) => at < reach)] ?? '';
}

/** Every user has an adapter when it resolves. @param {LoRAStorage} writer */
export async function seed(writer) {
  for (const [number, userId] of USERS.entries()) {
    const found = await writer.loadAdapter(userId).catch((error) => {
      if (!(error instanceof AdapterNotFoundError)) throw error;
    });
    if (found === undefined) await writer.saveAdapter(new UserLoRAAdapter(userId).initializeRandom(number));
  }
}

/**
 * @param {Node[]} nodes
 * @param {Pick<LoRAStorage, 'loadAdapter' | 'saveAdapter' | 'pruneVersions'>} writer
 * @param {() => boolean} isWatched
 */
export function createTraffic(nodes, writer, isWatched) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  let step = 0;
  /** What is under way; its failures are events of the nodes, which the page shows. @type {Set<Promise<unknown>>} */
  const running = new Set();
  const run = (/** @type {Promise<unknown>} */ work) => {
    const done = work.catch(() => undefined).finally(() => running.delete(done));
    running.add(done);
  };
  const write = async (/** @type {string} */ user) => {
    await writer.saveAdapter(await writer.loadAdapter(user));
    await writer.pruneVersions({ keepLatest: VERSIONS_KEPT, userId: user });
  };
  const tick = () => {
    if (!isWatched()) return;
    step++;
    const node = nodes[step % nodes.length];
    const user = zipfUser(Math.random());
    // The first four are the visitor's: nobody else trains them.
    const trained = USERS[4 + Math.floor((USERS.length - 4) * Math.random())] ?? '';
    if (node === undefined || running.size > 20) return;
    run(ask(node, `/v1/users/${user}/rank`, { candidates }));
    // Two steps, so that both nodes take their turn; not the first, on nodes that have just begun.
    if (step % TRAIN_EVERY >= TRAIN_EVERY - 2)
      run(ask(node, `/v1/users/${trained}/events`, { events: eventsOf(trained, 10) }));
    if (step % WRITE_EVERY === 0) run(write(trained));
  };
  return {
    get on() {
      return timer !== undefined;
    },
    /** @param {boolean} on */
    set(on) {
      clearInterval(timer);
      timer = on ? setInterval(tick, STEP_MS) : undefined;
    },
    async close() {
      clearInterval(timer);
      await Promise.all(running);
    },
  };
}
