/**
 * The program of bench/rust, built from Debian's sources of bincode and run beside the bench: it works only while a side
 * of it has its turn.
 */
import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { root } from '../../test/support/root.js';
import type { RemoteSide } from './side.js';

const execute = promisify(execFile);
const CRATES = '/usr/share/cargo/registry';

export interface Rust {
  readonly bincode: string;
  readonly compiler: string;
  side(name: string, work: 'decode' | 'encode'): RemoteSide;
  stop(): void;
}

/** Over one record, read and written back to the same bytes before this resolves; or why there is no such program. */
export async function startRust(record: string): Promise<Rust | string> {
  const bincode = 'bincode-1.3.3';
  if (!existsSync(join(CRATES, bincode))) return `${bincode} is not in ${CRATES}: apt-get install librust-bincode-dev`;
  const compiler = await execute('rustc', ['--version']).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  if (compiler === undefined) return 'there is no rustc: apt-get install cargo';
  const build = join(root, '.cache/bench-rust');
  // A copy: cargo leaves a lock file beside the sources.
  cpSync(join(root, 'bench/rust'), build, { recursive: true });
  await execute('cargo', ['build', '--release', '--offline', '--quiet'], { cwd: build });

  const child = spawn(join(build, 'target/release/lora-store-bench'), [record], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done) throw new Error('the Rust program ended');
    return value;
  };
  if ((await answer()) !== 'ready') throw new Error('the Rust program speaks another language');
  return {
    bincode,
    compiler,
    side: (name, work) => ({
      name,
      check() {}, // it would not have been ready
      async slice(milliseconds) {
        child.stdin.write(`${work} ${Math.ceil(milliseconds)}\n`);
        return (await answer()).split(' ').map((nanoseconds) => Number(nanoseconds) / 1000);
      },
    }),
    stop: () => child.stdin.end(),
  };
}
