/**
 * Every environment of a process may load the addon, and be torn down in the middle of whatever the addon does for it:
 * the process and its other environments go on, and their answers stay what they were.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { addon, goldenBytes } from '../support/adapters.js';
import { endless, everything } from './addon-worker.mjs';

const path = fileURLToPath(new URL('../../build/Release/lora_store.node', import.meta.url));
const script = new URL('addon-worker.mjs', import.meta.url);
const native = addon();
const golden = new Uint8Array(goldenBytes('seed-8x512-768.bin'));
const answers = everything(native, golden);

function start(task?: string, bytes = golden, times = 1): Worker {
  return new Worker(script, { workerData: { addon: path, bytes, task, times } });
}

/** The first message; an error of the worker's rejects. */
async function message(worker: Worker): Promise<unknown> {
  return (await once(worker, 'message'))[0];
}

afterEach(() => {
  expect(everything(native, golden)).toEqual(answers);
});

test('four workers use different records at once, each with its own, and so does the main thread', async () => {
  const files = ['odd-3x7-5.bin', 'seed-8x512-768.bin', 'small-4x16-32.bin', 'second-8x512-768.bin'];
  for (let round = 0; round < 2; round++) {
    const records = files.map((file) => new Uint8Array(goldenBytes(file)));
    const working = records.map((bytes) => message(start(undefined, bytes, 50)));
    expect(await Promise.all(working)).toEqual(records.map((bytes) => everything(native, bytes)));
  }
});

test.each(Object.keys(endless))(
  'workers stopped in the middle of %s do not take the process with them',
  async (task) => {
    for (let round = 0; round < 5; round++) {
      const worker = start(task);
      expect(await message(worker)).toBe('working');
      expect(await worker.terminate()).toBe(1);
    }
  },
);

test('environments come, use everything and go, one way and the other, many times', async () => {
  for (let round = 0; round < 20; round++) {
    const worker = start();
    const exit = once(worker, 'exit');
    expect(await message(worker)).toEqual(answers);
    expect(await exit).toEqual([0]);
    const stopped = start('forward');
    expect(await message(stopped)).toBe('working');
    expect(await stopped.terminate()).toBe(1);
  }
});

test('several are stopped at once, and others while they load', async () => {
  for (let round = 0; round < 5; round++) {
    const working = ['decode', 'scoreMany', 'encode'].map((task) => start(task));
    await Promise.all(working.map(message));
    const loading = [start(), start('halve')];
    const codes = await Promise.all([...working, ...loading].map((worker) => worker.terminate()));
    expect(codes.slice(0, 3)).toEqual([1, 1, 1]);
  }
});
