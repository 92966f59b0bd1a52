/** Programs that the run starts, none of which outlives it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

export interface Settings {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** File descriptor for what it prints; our own output without one. */
  output?: number;
  signal?: AbortSignal;
}

const running = new Set<ChildProcess>();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
process.once('exit', () => {
  for (const child of running) child.kill();
});

/** Rejects where it ends with anything but zero. */
export async function run(program: string, args: readonly string[], settings: Settings = {}): Promise<void> {
  const { output = 'inherit', ...options } = settings;
  const child = spawn(program, args, { ...options, stdio: ['ignore', output, output] });
  running.add(child);
  try {
    const [code, signal] = await once(child, 'exit');
    if (code !== 0) throw new Error(`${program} ended with ${signal ?? `exit code ${code}`}`);
  } finally {
    running.delete(child);
  }
}

/** For programs that node starts and sanitizers watch. Addresses become lines through binutils, where LLVM's are missing. */
export function sanitized(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  // Node itself frees not everything before it ends, and the core allocates nothing.
  return { ...env, ASAN_OPTIONS: 'detect_leaks=0:allow_addr2line=1', UBSAN_OPTIONS: 'print_stacktrace=1' };
}
