/**
 * Requests to a storage, a limited number under way at once, from a generator that does not wait for them (open loop) or
 * from callers who ask again when they were answered (closed loop); and how long each took.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Samples } from '../harness/samples.js';
import { type Arrivals, frameReader } from './arrivals.js';
import { type Demand, draws, OPERATIONS, sharedNow } from './demand.js';

/** Does what is asked; operation: index into OPERATIONS. */
export type Answer = (operation: number, user: number) => Promise<unknown>;

export interface Tally {
  readonly samples: readonly Samples[];
  arrivals: number;
  completed: number;
  /** Had not been answered when the last had arrived. */
  backlog: number;
  /** Why requests failed, and how many did. */
  readonly failures: Record<string, number>;
}

const PATIENCE_MS = 2_000;
/** Of one caller in a row: whose every answer is in memory lets nothing else in. */
const ANSWERS_A_TURN = 16;

function newTally(): Tally {
  return { samples: OPERATIONS.map(() => new Samples()), arrivals: 0, completed: 0, backlog: 0, failures: {} };
}

async function timed(tally: Tally, answer: Answer, due: number, operation: number, user: number): Promise<void> {
  try {
    await answer(operation, user);
    tally.completed++;
  } catch (error) {
    const { name, message } = error as Error;
    const why = `${OPERATIONS[operation]}: ${name}: ${message}`;
    tally.failures[why] = (tally.failures[why] ?? 0) + 1;
  }
  tally.samples[operation]?.add(sharedNow() - due);
}

/** Latencies count from the moment at which a request should have started. */
export async function openLoop(answer: Answer, arrivals: Arrivals, limit: number): Promise<Tally> {
  const tally = newTally();
  const waiting: [due: number, operation: number, user: number][] = [];
  let next = 0;
  let underWay = 0;
  const serve = async (due: number, operation: number, user: number) => {
    underWay++;
    await timed(tally, answer, due, operation, user);
    underWay--;
    const first = waiting[next];
    if (first === undefined) return;
    next++;
    void serve(...first);
  };
  const generator = spawn(
    process.execPath,
    [fileURLToPath(new URL('generator.js', import.meta.url)), JSON.stringify(arrivals)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const read = frameReader((due, operation, user) => {
    tally.arrivals++;
    if (underWay < limit) void serve(due, operation, user);
    else waiting.push([due, operation, user]);
  });
  generator.stdout.on('data', read);
  const [code] = await once(generator, 'close');
  if (code !== 0) throw new Error(`the generator ended with ${code}`);
  tally.backlog = underWay + waiting.length - next;
  const patience = performance.now() + PATIENCE_MS;
  while (underWay > 0 && performance.now() < patience) await turn();
  // Whoever still waits has waited that long at least, and must not be missing from the latencies.
  for (const [due, operation] of waiting.splice(next)) tally.samples[operation]?.add(sharedNow() - due);
  while (underWay > 0) await turn();
  return tally;
}

export async function closedLoop(answer: Answer, demand: Demand, callers: number, seconds: number): Promise<Tally> {
  const tally = newTally();
  const next = draws(demand);
  const end = sharedNow() + seconds * 1e6;
  const caller = async () => {
    for (let answers = 1; sharedNow() < end; answers++) {
      const { operation, user } = next();
      tally.arrivals++;
      await timed(tally, answer, sharedNow(), operation, user);
      if (answers % ANSWERS_A_TURN === 0) await turn();
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return tally;
}
