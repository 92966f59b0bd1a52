/** The command as a user runs it, from dist, as a process of its own. */
import { type ChildProcess, execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const SCRIPT = fileURLToPath(new URL('../../dist/cli/lora-store.js', import.meta.url));

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  /** SIGINT, as Ctrl-C sends it. */
  interrupt(): void;
  /** As its standard input, which ends there. */
  write(text: string): void;
  /** What it has said on stderr so far. */
  readonly stderr: string;
  readonly ended: Promise<Said>;
}

/** Starts `lora-store ...args`, with no server but those that `env` or the arguments name. */
export function startLora(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const options = { env: { ...process.env, DATABASE_URL: '', REDIS_URL: '', ...env }, maxBuffer: 2 ** 28 };
  let child: ChildProcess;
  let heard = '';
  const ended = new Promise<Said>((resolve, reject) => {
    child = execFile(process.execPath, [SCRIPT, ...args], options, (error, stdout, stderr) => {
      // A string code is the system's, and none a signal's: the process never ran, or was killed.
      const code = error === null ? 0 : error.code;
      if (typeof code === 'number') resolve({ code, stdout, stderr });
      else reject(error);
    });
    child.stderr?.on('data', (text: string) => (heard += text));
  });
  return {
    interrupt: () => void child.kill('SIGINT'),
    write: (text) => void child.stdin?.end(text),
    get stderr() {
      return heard;
    },
    ended,
  };
}

/** Runs it to its end. */
export function lora(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Said> {
  return startLora(args, env).ended;
}

/** The same with --json, read. stderr must be silent, unless the exit code says why not. */
export async function loraJson<T>(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<T> {
  const { code, stdout, stderr } = await lora([...args, '--json'], env);
  if (code > 1 || stdout === '') throw new Error(`lora-store ${args.join(' ')}: exit code ${code}\n${stderr}`);
  return JSON.parse(stdout);
}
