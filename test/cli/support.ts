/** The command as a user runs it, from dist, as a process of its own. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../../dist/cli/lora-store.js', import.meta.url));

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `lora-store ...args`, with no server but those that `env` or the arguments name. */
export function lora(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Said> {
  return startLora(args, env).said;
}

export interface Running {
  readonly said: Promise<Said>;
  /** Ctrl-C. */
  interrupt(): void;
  /** As its standard input, which ends there. */
  write(text: string): void;
}

/** lora(), for a test that does something meanwhile. */
export function startLora(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const options = { env: { ...process.env, DATABASE_URL: '', REDIS_URL: '', ...env }, maxBuffer: 2 ** 28 };
  const { promise, resolve, reject } = withResolvers<Said>();
  const child = execFile(process.execPath, [SCRIPT, ...args], options, (error, stdout, stderr) => {
    // A string code is the system's: the process never ran. Null: a signal ended it.
    const code = error === null ? 0 : error.code;
    if (typeof code === 'number') resolve({ code, stdout, stderr });
    else reject(error);
  });
  return { said: promise, interrupt: () => void child.kill('SIGINT'), write: (text) => void child.stdin?.end(text) };
}

/** Promise.withResolvers() of Node 22. */
function withResolvers<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (reason: unknown) => void = () => {};
  const promise = new Promise<T>((...settle) => {
    [resolve, reject] = settle;
  });
  return { promise, resolve, reject };
}

/** The same with --json, read. stderr must be silent, unless the exit code says why not. */
export async function loraJson<T>(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<T> {
  const { code, stdout, stderr } = await lora([...args, '--json'], env);
  if (code > 1 || stdout === '') throw new Error(`lora-store ${args.join(' ')}: exit code ${code}\n${stderr}`);
  return JSON.parse(stdout);
}
