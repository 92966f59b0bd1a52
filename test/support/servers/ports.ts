/**
 * Ports for servers, chosen below the range from which the kernel picks ports for outgoing connections: a server that
 * was killed finds its port free when it restarts. No port is handed out twice in a process, and processes of the tests
 * that run side by side choose among different ones. Between the probe and the server's own bind a stranger may still
 * take the port, so whoever starts a server retries with another one.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const lowest = 20_000;
const beyond = 32_000;

/** How many ports each of the processes side by side has: Vitest numbers its two workers from 1, its main process is 0. */
const width = 3000;
const first = lowest + ((Number(process.env.VITEST_POOL_ID ?? 0) * width) % (beyond - lowest));

/** A server that was given one may bind it later, or again. */
const handedOut = new Set<number>();

/** A port of 127.0.0.1 on which nobody listened a moment ago, and which this process was never given. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 10 * width; attempt++) {
    const port = first + randomInt(width);
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`no port between ${first} and ${first + width} of 127.0.0.1 is left: ${handedOut.size} were tried`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

/** The server could not bind: somebody else was faster. Its log says so in these words. */
export function lostTheRace(log: string): boolean {
  return /address already in use|port is already allocated/i.test(log);
}
