/** Frames of arrivals survive being cut anywhere, and a closed loop has as many requests under way as it has callers. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FRAME_BYTES, frameReader, writeFrame } from '../../bench/system/arrivals.js';
import { closedLoop } from '../../bench/system/crowd.js';

test.each([1, 7, FRAME_BYTES, FRAME_BYTES + 1, 1000])('frames are read from chunks of %i bytes', (size) => {
  const frames = Array.from({ length: 20 }, (_, i) => [1e9 + i / 8, i % 4, 4_000_000_000 + i] as const);
  const bytes = Buffer.alloc(frames.length * FRAME_BYTES);
  for (const [i, frame] of frames.entries()) writeFrame(bytes, i * FRAME_BYTES, ...frame);
  const arrived: unknown[] = [];
  const read = frameReader((...frame) => arrived.push(frame));
  for (let at = 0; at < bytes.length; at += size) read(bytes.subarray(at, at + size));
  expect(arrived).toEqual(frames);
});

test('a closed loop keeps its callers busy, and counts who failed', async () => {
  let underWay = 0;
  let most = 0;
  const answer = async (_: number, user: number) => {
    most = Math.max(most, ++underWay);
    await sleep(1);
    underWay--;
    if (user === 0) throw new Error('no');
  };
  const tally = await closedLoop(answer, { users: 4, mix: { load: 1 }, seed: 1 }, 5, 0.1);
  expect(most).toBe(5);
  expect(tally.failures['load: Error: no']).toBeGreaterThan(0);
  expect(tally.completed + (tally.failures['load: Error: no'] ?? 0)).toBe(tally.arrivals);
  expect(tally.samples[0]?.count).toBe(tally.arrivals);
});
