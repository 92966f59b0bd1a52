/** For how long a training of many events holds the event loop: of its own, where others wait for an answer. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { codec, UpdateUserLoRA, UserLoRAAdapter, type ViewingEvent } from 'lora-store';
import { descent, descentBetweenTurns } from '#dist/adapter/descent.js';
import { implementation } from '#dist/adapter/implementation.js';
import { seeded } from '../../test/support/random.js';
import type { Case } from '../harness/bench.js';
import type { RemoteSide } from '../harness/side.js';

const EVENTS = 50_000;
const CONTENTS = 100;
const POOL = 'steps in the pool';
const LOOP = 'steps on the loop';
/** Some trainings in a slice. */
const SLICE_MS = 400;

type LongDescent = typeof implementation.longDescent;

export default {
  question: `For how long does a training on ${EVENTS.toLocaleString('en-US')} events hold the event loop?`,
  async run(bench) {
    assert.equal(codec.kind, 'native', codec.reason);
    const work = workOf(new UserLoRAAdapter(randomUUID()).initializeRandom(1));
    const { ratio } = await bench.compare({
      group: 'longest time between two turns of the event loop',
      sides: [
        side('no training', async () => undefined),
        side(POOL, () => work(implementation.longDescent)),
        side('steps between turns, portable', () => work(descentBetweenTurns)),
        side(LOOP, () => work(async (run) => descent(run))),
      ],
      seconds: 0.9 * bench.seconds,
      sliceMs: SLICE_MS,
    });
    ratio(POOL, LOOP);
    ratio('steps between turns, portable', LOOP);
    bench.note(
      'What is left in the pool is the check of all events, before the call returns its promise, and garbage collection.',
    );
  },
} satisfies Case;

/** A training, with its long run of steps done in that way. */
function workOf(adapter: UserLoRAAdapter): (way: LongDescent) => Promise<void> {
  const random = seeded(1);
  const vector = (length: number) => Float32Array.from({ length }, () => random() - 0.5);
  const embeddings = Array.from({ length: CONTENTS }, () => vector(adapter.inputDim));
  const preference = vector(adapter.outputDim);
  const events: ViewingEvent[] = Array.from({ length: EVENTS }, (_, i) => ({
    contentId: String(i % CONTENTS),
    completionRate: random(),
  }));
  return async (way) => {
    const own = implementation.longDescent;
    // Training has no switch for it: nobody would want one, but for comparison.
    Object.assign(implementation, { longDescent: way });
    try {
      const embedding = (contentId: string) => embeddings[Number(contentId)] as Float32Array;
      const report = await UpdateUserLoRA.execute(adapter.clone(), events, embedding, preference);
      assert.ok(report.trained && report.lossPerEpoch.every(Number.isFinite));
    } finally {
      Object.assign(implementation, { longDescent: own });
    }
  };
}

/** A sample is the longest gap of one run, in microseconds. */
function side(name: string, work: () => Promise<void>): RemoteSide {
  return {
    name,
    callsPerSample: 1,
    check: work,
    async slice(milliseconds) {
      const longest: number[] = [];
      const end = performance.now() + milliseconds;
      do longest.push(1000 * (await longestGap(work)));
      while (performance.now() < end);
      return longest;
    },
  };
}

/** Milliseconds. At least a few turns, also where the work is over at once. */
async function longestGap(work: () => Promise<void>): Promise<number> {
  let done = false;
  let longest = 0;
  const watched = (async () => {
    let last = performance.now();
    for (let turns = 0; !done || turns < 10; turns++) {
      await turn();
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }
  })();
  // Watched from before its first, synchronous, part.
  await turn();
  await work().finally(() => {
    done = true;
  });
  await watched;
  return longest;
}
