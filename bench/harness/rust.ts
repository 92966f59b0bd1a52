/**
 * The program of bench/rust, built from Debian's sources of bincode and run beside the bench: it works only while a side
 * of it has its turn. As cargo builds for release unless told otherwise; link-time optimisation made it no faster.
 */
import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { root } from '../../test/support/root.js';
import type { RemoteSide } from './side.js';

const execute = promisify(execFile);
const CRATE = '/usr/share/cargo/registry/bincode-1.3.3';

/** `const BATCH` of bench/rust/src/main.rs. */
const BATCH = 20;

export interface Rust {
  /** Of compiler and crates. */
  readonly versions: Readonly<Record<string, string>>;
  side(name: string, work: 'decode' | 'encode'): RemoteSide;
  stop(): void;
}

/** Over one record, read and written back to the same bytes before this resolves; or why there is no such program. */
export async function startRust(record: string): Promise<Rust | string> {
  if (!existsSync(CRATE)) return `${CRATE} is not there: apt-get install librust-bincode-dev`;
  const compiler = await versionOfCompiler();
  if (compiler === undefined) return 'there is no cargo: apt-get install cargo';
  const build = join(root, '.cache/bench-rust');
  // A copy: cargo leaves a lock file beside the sources.
  cpSync(join(root, 'bench/rust'), build, { recursive: true });
  await execute('cargo', ['build', '--release', '--offline', '--quiet'], { cwd: build });
  const lock = readFileSync(join(build, 'Cargo.lock'), 'utf8');
  const crates = [...lock.matchAll(/name = "(bincode|serde)"\nversion = "([^"]+)"/g)];
  const { slice, stop } = await startProgram(join(build, 'target/release/lora-store-bench'), record);
  return {
    versions: { rustc: compiler, ...Object.fromEntries(crates.map(([, name, version]) => [name, version ?? ''])) },
    side: (name, work) => ({
      name,
      callsPerSample: BATCH,
      check() {}, // it would not have started
      slice: (milliseconds) => slice(work, milliseconds),
    }),
    stop,
  };
}

async function versionOfCompiler(): Promise<string | undefined> {
  try {
    await execute('cargo', ['--version']);
    const { stdout } = await execute('rustc', ['--version']);
    return stdout.trim().replace(/^rustc /, '');
  } catch {
    return undefined;
  }
}

async function startProgram(path: string, record: string) {
  const child = spawn(path, [record], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done) throw new Error(`${path} ended`);
    return value;
  };
  if ((await answer()) !== 'ready') throw new Error(`${path} speaks another language`);
  return {
    async slice(work: string, milliseconds: number): Promise<number[]> {
      child.stdin.write(`${work} ${Math.ceil(milliseconds)}\n`);
      return (await answer()).split(' ').map((nanoseconds) => Number(nanoseconds) / 1000);
    },
    stop: () => child.stdin.end(),
  };
}
