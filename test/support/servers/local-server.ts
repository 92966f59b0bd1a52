/**
 * The life of a server started from a binary: find a port, start, wait until it answers, and the same again after a
 * kill. What differs between Postgres and Redis is given as a `Program`.
 */
import { waitFor } from '../wait.js';
import type { Daemon } from './daemon.js';
import { freePort, lostTheRace } from './ports.js';
import type { OwnServer } from './server.js';

export interface Program {
  readonly executable: string;
  readonly env: NodeJS.ProcessEnv;
  /** Asked once for each port that is tried, so a second port is chosen here: a restart keeps it. */
  args(port: number): readonly string[] | Promise<readonly string[]>;
  url(port: number): string;
  /** Resolves when a client was served; rejects as long as none is. */
  greet(url: string): Promise<void>;
}

const attempts = 5;

export async function startLocalServer(daemon: Daemon, program: Program): Promise<OwnServer> {
  try {
    const { port, args } = await startOnFreePort(daemon, program);
    const server: OwnServer = {
      url: program.url(port),
      port,
      stop: () => daemon.stop(),
      kill: () => daemon.end('SIGKILL'),
      async restart() {
        await daemon.end('SIGKILL');
        await startOn(port, args, daemon, program);
      },
      pause: async () => daemon.signal('SIGSTOP'),
      resume: async () => daemon.signal('SIGCONT'),
    };
    return server;
  } catch (error) {
    await daemon.stop();
    throw error;
  }
}

async function startOnFreePort(daemon: Daemon, program: Program): Promise<{ port: number; args: readonly string[] }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const args = await program.args(port);
    try {
      await startOn(port, args, daemon, program);
      return { port, args };
    } catch (error) {
      if (attempt === attempts || !lostTheRace(daemon.log)) throw error;
    }
  }
}

async function startOn(port: number, args: readonly string[], daemon: Daemon, program: Program): Promise<void> {
  daemon.start(program.executable, args, program.env);
  let answered = false;
  await waitFor(
    async () => {
      if (!daemon.running) return true;
      await program.greet(program.url(port));
      answered = true;
      return true;
    },
    { timeoutMs: 30_000, intervalMs: 20, what: `${program.executable} to answer on port ${port}` },
  );
  // A process that lives and answers is ours: had somebody else taken the port, ours would have ended.
  if (!answered || !daemon.running) {
    throw new Error(`${program.executable} did not start on port ${port}:\n${daemon.log.trim().slice(-2000)}`);
  }
}
