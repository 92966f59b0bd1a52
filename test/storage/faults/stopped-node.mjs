// Nodes of a process that stops itself at the worst moment, for stopped-node.test.ts. Whoever continues it continues right there.
import { setImmediate as turn } from 'node:timers/promises';
import { LoRAStorage } from 'lora-store';
import pg from 'pg';

let nodes;
let answered = () => undefined;

/** Lets us act when an answer of Postgres has arrived, before anybody is told of it. */
class Client extends pg.Client {
  query(...args) {
    return super.query(...args).then((result) => {
      answered();
      return result;
    });
  }
}

export async function open(postgres, options) {
  const pool = new pg.Pool({ connectionString: postgres.primary, Client });
  const given = { ...postgres, primary: pool };
  nodes = await Promise.all(options.map((one) => LoRAStorage.open({ ...one, postgres: given })));
}

/** What each node answers. All begin before anything else has its turn. */
export function load(userId) {
  return Promise.all(
    nodes.map(async (node) => {
      const { version, tier } = await node.loadAdapterInfo(userId);
      return { version, tier };
    }),
  );
}

/** Returns when it is continued, with how long that took. No timer and no socket has its turn in between. */
function stop() {
  const from = performance.now();
  process.kill(process.pid, 'SIGSTOP');
  return performance.now() - from;
}

export async function stopThenLoad(userId) {
  const stoppedMs = stop();
  return { stoppedMs, first: await load(userId) };
}

/** Loads are on their way when it stops; the first that begin afterwards are what counts. */
export async function stopInLoad(userId) {
  const underWay = load(userId);
  await turn();
  const stoppedMs = stop();
  const first = await load(userId);
  await underWay;
  return { stoppedMs, first };
}

/** All that it asked is answered when it stops: what is left is to say how it is. */
export async function stopInHealth() {
  let stoppedMs = 0;
  answered = () => {
    answered = () => undefined;
    stoppedMs = stop();
  };
  // The one without Redis, which has nobody else to wait for.
  const { changeFeed } = await nodes[1].health();
  return { stoppedMs, changeFeed };
}
