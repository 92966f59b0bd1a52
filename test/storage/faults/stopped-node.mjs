// Nodes of a process that stops itself at the worst moment, for stopped-node.test.ts. Whoever continues it continues right there.
import { setImmediate as turn } from 'node:timers/promises';
import { LoRAStorage } from 'lora-store';

let nodes;

export async function open(options) {
  nodes = await Promise.all(options.map((one) => LoRAStorage.open(one)));
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

/** Its questions are on their way when it stops; the answers are there when it goes on. */
export async function stopInHealth() {
  const asked = Promise.all(nodes.map((node) => node.health()));
  await turn();
  const stoppedMs = stop();
  return { stoppedMs, found: await asked };
}
