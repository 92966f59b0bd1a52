/**
 * Ports for servers, chosen below the range from which the kernel picks ports for outgoing connections: a server that
 * was killed finds its port free when it restarts. Between the probe and the server's own bind another process may
 * still take the port, so whoever starts a server retries with another one.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const lowest = 20_000;
const beyond = 32_000;

/** A port of 127.0.0.1 on which nobody listened a moment ago. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(lowest, beyond);
    if (await isFree(port)) return port;
  }
  throw new Error(`none of 100 ports tried between ${lowest} and ${beyond} is free on 127.0.0.1`);
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
