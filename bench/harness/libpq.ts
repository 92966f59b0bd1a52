/** The program of bench/libpq, compiled here and run beside the bench: it works only while its side has its turn. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { root } from '../../test/support/root.js';
import type { RemoteSide } from './side.js';

const execute = promisify(execFile);

export interface Libpq {
  readonly version: string;
  /** Loads of those users' adapters; `first` is the first one's record. */
  side(name: string, first: Buffer): RemoteSide;
  stop(): void;
}

/** Connected to the database at `url`; or why there is no such program. */
export async function startLibpq(url: string, users: readonly string[]): Promise<Libpq | string> {
  const build = join(root, '.cache/bench-libpq');
  const program = join(build, 'load');
  mkdirSync(build, { recursive: true });
  try {
    const { stdout: headers } = await execute('pg_config', ['--includedir']);
    const source = join(root, 'bench/libpq/load.c');
    await execute('cc', ['-O2', `-I${headers.trim()}`, '-o', program, source, '-lpq']);
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    return `it was not compiled (${reason}): apt-get install gcc libpq-dev`;
  }
  const child = spawn(program, [url, ...users], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done) throw new Error('the program over libpq ended');
    return value;
  };
  const [ready, number] = (await answer()).split(' ');
  assert.equal(ready, 'ready');
  const [major, minor] = [Math.floor(Number(number) / 10_000), Number(number) % 10_000];
  return {
    version: `${major}.${minor}`,
    side: (name, first) => ({
      name,
      callsPerSample: 1,
      async check() {
        child.stdin.write('show 0\n');
        assert.equal(await answer(), first.toString('hex'));
      },
      async slice(milliseconds) {
        child.stdin.write(`load ${Math.ceil(milliseconds)}\n`);
        return (await answer())
          .trim()
          .split(' ')
          .map((nanoseconds) => Number(nanoseconds) / 1000);
      },
    }),
    stop: () => child.stdin.end(),
  };
}
