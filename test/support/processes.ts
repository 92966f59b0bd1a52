/**
 * Node processes of a test: several writers at once, a node that is stopped and continued, one that is killed. A child
 * runs a module of plain JavaScript that imports `lora-store` by name, as a user's program does, and the test calls
 * the functions it exports. A child ends with its parent.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { root } from './root.js';

const host = join(root, 'test/support/child-host.mjs');

export interface Child {
  readonly pid: number;
  /** Its exit code; null where a signal ended it. */
  readonly ended: Promise<number | null>;
  /** Calls an exported function with arguments that JSON can carry. Rejects with the child's error, or when it dies. */
  call<Result>(name: string, ...args: unknown[]): Promise<Result>;
  /** SIGSTOP freezes it where it is, SIGCONT continues it. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
}

interface Answer {
  id: number;
  value?: unknown;
  error?: { name: string; message: string; code?: string };
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** module: URL of an .mjs file next to the test. Resolves once it is loaded. */
export async function startChild(module: URL, env: NodeJS.ProcessEnv = {}): Promise<Child> {
  const child = fork(host, [module.href], { env: { ...process.env, ...env }, execArgv: [], serialization: 'json' });
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.on('message', (answer: Answer) => settle(waiting, answer));
  child.on('exit', (code, signal) => {
    for (const { reject } of waiting.values())
      reject(new Error(`the child ended with ${signal ?? `exit code ${code}`}`));
    waiting.clear();
  });
  const call = (name: string, args: unknown[]) =>
    new Promise<unknown>((resolve, reject) => {
      if (child.exitCode !== null || child.signalCode !== null) return reject(new Error('the child has ended'));
      const id = ++lastId;
      waiting.set(id, { resolve, reject });
      child.send({ id, name, args }, (error) => error && reject(error));
    });
  try {
    await call('', []);
  } catch (error) {
    await kill(child);
    throw error;
  }
  return {
    pid: child.pid ?? 0,
    ended,
    call: async <Result>(name: string, ...args: unknown[]) => (await call(name, args)) as Result,
    signal: (signal) => void child.kill(signal),
    kill: () => kill(child),
  };
}

function settle(waiting: Map<number, Waiting>, { id, value, error }: Answer): void {
  const call = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) call?.resolve(value);
  else call?.reject(Object.assign(new Error(error.message), error));
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
