/**
 * Runs fuzz targets side by side, as many as there are cores, from the golden records, from what earlier runs found
 * worth keeping, and from every input that ever broke a promise: it has to hold before anything new is tried. Stops all of
 * them at the first finding, and says where the input lies.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/root.js';
import { run, sanitized } from './programs.js';

export type Limit = { readonly seconds: number } | { readonly runs: number };

const work = join(root, '.cache/fuzz');
const records = join(root, 'test/fixtures/bincode');
/** Longer ones only cost time: from 6 KB on every loop has been through all of its steps. */
const MAX_BYTES = 8192;

const known = readdirSync(fileURLToPath(new URL('./fuzz', import.meta.url)))
  .filter((file) => file.endsWith('.cc'))
  .map((file) => basename(file, '.cc'));

export async function fuzz(built: string, wanted: readonly string[], limit: Limit): Promise<void> {
  const unknown = wanted.filter((target) => !known.includes(target));
  if (unknown.length > 0) throw new Error(`no such target: ${unknown.join(', ')}; there are ${known.join(', ')}`);
  const seeds = await plantSeeds(built);
  const waiting = wanted.length > 0 ? [...wanted] : [...known];
  const stop = new AbortController();
  const worker = async () => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      await fuzzOne(built, target, seeds, limit, stop.signal);
    }
  };
  const workers = Array.from({ length: availableParallelism() }, () =>
    worker().catch((error: unknown) => {
      stop.abort();
      throw error;
    }),
  );
  const outcomes = await Promise.allSettled(workers);
  const failure = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason);
  if (failure.length > 0) throw failure.find(({ name }) => name !== 'AbortError') ?? failure[0];
}

async function plantSeeds(built: string): Promise<string> {
  const to = join(work, 'seeds');
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  const small = readdirSync(records).filter(
    (file) => file.endsWith('.bin') && readFileSync(join(records, file)).length <= MAX_BYTES,
  );
  await run(join(built, 'seeds'), [...small.map((file) => join(records, file)), to], { env: sanitized() });
  return to;
}

async function fuzzOne(built: string, target: string, seeds: string, limit: Limit, signal: AbortSignal): Promise<void> {
  const [corpus, findings] = ['corpus', 'findings'].map((name) => join(work, target, name)) as [string, string];
  for (const directory of [corpus, findings]) mkdirSync(directory, { recursive: true });
  const log = join(work, target, 'log');
  const output = openSync(log, 'w');
  const until = 'seconds' in limit ? `-max_total_time=${limit.seconds}` : `-runs=${limit.runs}`;
  const options = [
    until,
    `-max_len=${MAX_BYTES}`,
    '-timeout=30',
    '-print_final_stats=1',
    `-artifact_prefix=${findings}/`,
  ];
  console.log(`${target}: ${Object.entries(limit).flat().reverse().join(' ')}`);
  try {
    await run(join(built, `fuzz-${target}`), [...options, corpus, seeds, findings], {
      env: sanitized(),
      output,
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    const said = readFileSync(log, 'utf8');
    const [, input = 'nowhere'] = /Test unit written to (\S+)/.exec(said) ?? [];
    throw new Error(`${said.slice(-6000)}\n${target}: a finding. The input: ${input}. All it said: ${log}`, {
      cause: error,
    });
  } finally {
    closeSync(output);
  }
  console.log(`${target}: ${executed(log)} inputs, no finding`);
}

function executed(log: string): string {
  const [, count] = /number_of_executed_units:\s*(\d+)/.exec(readFileSync(log, 'utf8')) ?? [];
  if (!(Number(count) > 0)) throw new Error(`ran nothing: see ${log}`);
  return Number(count).toLocaleString('en');
}
