/**
 * One way to do the work, and how long it takes: a slice runs a side for so many milliseconds and keeps what it saw.
 * Synchronous work is timed in batches long enough that the clock does not matter, asynchronous work call by call unless
 * it never waits for anything. What a side returns is stored, so that no compiler leaves the work out.
 */
import { isPromise } from 'node:util/types';
import { compileFunction } from 'node:vm';
import { Samples } from './samples.js';

export type Side = LocalSide | RemoteSide;

/** Runs in this process. */
export interface LocalSide {
  readonly name: string;
  /** Does the work once. One kind of answer only: a promise each time, or never. */
  run(): unknown;
  /** Throws unless this is the right answer. It sees one before any clock starts. */
  check(answer: never): unknown;
}

/** Runs, and is timed, in another program. */
export interface RemoteSide {
  readonly name: string;
  /** Microseconds a call: the mean of each of several batches. */
  slice(milliseconds: number): Promise<readonly number[]>;
  /** In such a batch. */
  readonly callsPerSample: number;
  /** Throws unless that program does the work right. */
  check(): unknown;
}

/** What a side did in one slice. */
export interface Slice {
  readonly samples: Samples;
  readonly perSecond: number;
  /** How many calls a sample is the mean of. */
  readonly callsPerSample: number;
}

export type Runner = (milliseconds: number) => Promise<Slice>;

/** The work of doing nothing: what the measuring itself costs. */
export const nothing: LocalSide = {
  name: 'nothing',
  run: () => undefined,
  check(answer: unknown) {
    if (answer !== undefined) throw new Error('nothing did something');
  },
};

const BATCH_MS = 0.25;
const now = () => performance.now();

/** Where answers go. */
const sink: { answer: unknown } = { answer: undefined };

/** Checks the side's answer and finds out how it is timed. concurrency: calls under way at once, where each is timed. */
export async function runnerOf(side: Side, awaited: 'each' | 'batches', concurrency: number): Promise<Runner> {
  if ('slice' in side) {
    await side.check();
    return async (milliseconds) => {
      const samples = samplesOf(await side.slice(milliseconds));
      return { samples, perSecond: 1e6 / samples.mean, callsPerSample: side.callsPerSample };
    };
  }
  const answer = side.run();
  await side.check((await answer) as never);
  if (!isPromise(answer)) return batchRunner(side, false);
  return awaited === 'batches' ? batchRunner(side, true) : (milliseconds) => eachCall(side, milliseconds, concurrency);
}

function batchRunner(side: LocalSide, awaited: boolean): Runner {
  const batch = loopOf(side, awaited);
  let calls = 1;
  return async (milliseconds) => {
    const times: number[] = [];
    const callsPerSample = calls;
    const end = now() + milliseconds;
    let spent = 0;
    do {
      const elapsed = await batch(side.run, calls, sink, now);
      times.push((elapsed * 1000) / calls);
      spent += elapsed;
    } while (now() < end);
    const samples = samplesOf(times);
    const perSecond = (1000 * times.length * calls) / spent;
    // The first slices begin with one call a batch; never many times more, should the clock have missed a short one.
    calls = Math.ceil(Math.min((1000 * BATCH_MS) / samples.at(50), 1000 * calls));
    return { samples, perSecond, callsPerSample };
  };
}

type Loop = (run: () => unknown, calls: number, to: typeof sink, clock: typeof now) => number | Promise<number>;

/**
 * A loop that no other side runs through: shared by all it would see so many functions that none is compiled into it, and
 * a call would cost more than some of the work measured here.
 */
function loopOf({ name }: LocalSide, awaited: boolean): Loop {
  const loop = `
    const start = clock();
    for (let i = 0; i < calls; i++) to.answer = ${awaited ? 'await ' : ''}run();
    return clock() - start;`;
  const body = awaited ? `return (async () => {${loop}})();` : loop;
  return compileFunction(`// ${name}\n${body}`, ['run', 'calls', 'to', 'clock']) as Loop;
}

async function eachCall(side: LocalSide, milliseconds: number, concurrency: number): Promise<Slice> {
  const samples = new Samples();
  const start = now();
  const end = start + milliseconds;
  const caller = async () => {
    do {
      const before = now();
      sink.answer = await side.run();
      samples.add((now() - before) * 1000);
    } while (now() < end);
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  return { samples, perSecond: (1000 * samples.count) / (now() - start), callsPerSample: 1 };
}

function samplesOf(times: readonly number[]): Samples {
  const samples = new Samples();
  for (const time of times) samples.add(time);
  return samples;
}
