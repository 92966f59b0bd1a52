/**
 * One server process with a directory of its own. Promises: the directory and the process end with `stop()`, and at
 * the latest with the process that started them, even when that one is killed with SIGKILL (see janitor.sh).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../root.js';

const janitorScript = join(root, 'test/support/servers/janitor.sh');

/** Writes its own process id, then becomes the server: there is no moment in which a server runs and no file names it. */
const announceAndBecome = 'echo $$ >"$0" && exec "$@"';

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

export class Daemon {
  readonly home: string;
  readonly #identity: Identity | undefined;
  readonly #janitor: ChildProcess;
  #child: ChildProcess | undefined;

  /** identity: who the server runs as and who owns its directory; absent: the caller. */
  constructor(name: string, identity?: Identity) {
    this.#identity = identity;
    this.home = mkdtempSync(join(tmpdir(), `lora-store-${name}-`));
    if (identity) chownSync(this.home, identity.uid, identity.gid);
    this.#janitor = spawn('/bin/sh', [janitorScript, this.home], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
      cwd: '/',
    });
    this.#janitor.unref();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Everything the server has written so far. */
  get log(): string {
    try {
      return readFileSync(join(this.home, 'log'), 'utf8');
    } catch {
      return '';
    }
  }

  /** Starts the server; does not wait until it answers. */
  start(executable: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): void {
    const output = openSync(join(this.home, 'log'), 'a');
    try {
      this.#child = spawn('/bin/sh', ['-c', announceAndBecome, join(this.home, 'pid'), executable, ...args], {
        // A session of its own: Ctrl-C in the terminal must reach the tests first, which may still need the server.
        detached: true,
        stdio: ['ignore', output, output],
        cwd: this.home,
        env: { PATH: process.env.PATH, HOME: this.home, LC_ALL: 'C', TZ: 'UTC', ...env },
        ...this.#identity,
      });
    } finally {
      closeSync(output);
    }
    this.#child.on('error', () => {}); // a spawn that failed shows as a process that is not running
    this.#child.unref();
  }

  /** Runs a command to its end as the server's user, for preparations such as initdb. */
  async run(executable: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
    this.start(executable, args, env);
    const child = this.#child;
    if (child === undefined) return;
    child.ref();
    const [code] = await once(child, 'exit');
    this.#forget();
    if (code !== 0) throw new Error(`${executable} failed: ${this.log.trim() || `exit code ${code}`}`);
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child !== undefined && this.running) {
      child.ref();
      const ended = once(child, 'exit');
      child.kill(signal);
      // One that was stopped hears of its end only when it goes on.
      child.kill('SIGCONT');
      const tooSlow = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(tooSlow);
    }
    this.#forget();
  }

  async stop(): Promise<void> {
    await this.end('SIGINT');
    rmSync(this.home, { recursive: true, force: true, maxRetries: 5 });
    this.#janitor.stdin?.end();
  }

  /** The process id may belong to somebody else from now on. */
  #forget(): void {
    rmSync(join(this.home, 'pid'), { force: true });
    this.#child = undefined;
  }
}
