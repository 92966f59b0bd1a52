/** Long training runs off the event loop, in both implementations: the same numbers, on copies, however their thread ends. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { type Descended, type Descent, descent, descentBetweenTurns } from '../../src/adapter/descent.js';
import { type Addon, descentOver } from '../../src/adapter/native.js';
import { addon, integerBelow, randomVector, seeded } from '../support/adapters.js';

const native = addon();
const asides: [string, (run: Descent) => Promise<Descended>][] = [
  ['native', (run) => descentOver(native, run)],
  ['portable', descentBetweenTurns],
];

function runOf(rank: number, events: number, epochs: number, scale = 1): Descent {
  const random = seeded(rank + events);
  const contents = Math.ceil(events / 2);
  return {
    hidden: randomVector(random, contents * rank).map((value) => scale * value),
    contents: Uint32Array.from({ length: events }, () => integerBelow(random, contents)),
    labels: Float64Array.from({ length: events }, random),
    reflected: randomVector(random, rank),
    scalingFactor: 1.7,
    squaredPreference: 3,
    learningRate: 0.01,
    epochs,
  };
}

describe.each(asides)('%s', (_, aside) => {
  test.each([
    [1, 1, 1, 1],
    [8, 10, 5, 1],
    [3, 1000, 7, 1],
    [8, 20_000, 5, 1],
    [130, 700, 3, 0.1],
    [200_000, 3, 2, 0.001],
    // Logits of many thousands: e to their power is infinite.
    [2, 500, 5, 1e5],
  ])('rank %i, %i events, %i epochs, numbers of %f: what descent() says', async (rank, events, epochs, scale) => {
    const run = runOf(rank, events, epochs, scale);
    const [{ direction, losses }, expected] = [await aside(run), descent(run)];
    expect([direction.length, losses.length]).toEqual([rank, epochs]);
    for (const [given, wanted] of [
      [direction, expected.direction],
      [losses, expected.losses],
    ] as const) {
      const size = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      expect(size).toBeGreaterThan(0);
      for (const [i, value] of wanted.entries()) {
        // exp() and log1p() of two libraries may differ in the last bit, and every step builds on the one before.
        if (!(Math.abs((given[i] as number) - value) <= 1e-9 * size)) expect([i, given[i]]).toEqual([i, value]);
      }
    }
  });

  test('lets the event loop turn while it runs, and takes no notice of what becomes of its arrays', async () => {
    const run = runOf(8, 50_000, 10);
    const expected = await aside(run);
    const done = aside(run).then(() => 'done');
    const first = await Promise.race([done, new Promise((resolve) => setImmediate(() => resolve('a turn')))]);
    expect(first).toBe('a turn');
    await done;
    if (aside === descentBetweenTurns) return;
    const again = aside(run);
    for (const array of [run.hidden, run.labels, run.reflected, run.contents]) array.fill(0);
    for (const { buffer } of [run.hidden, run.labels]) structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    expect(await again).toEqual(expected);
  });
});

describe('the addon refuses', () => {
  type Args = Parameters<Addon['descent']>;
  const valid = (): Args => [
    new Float32Array(6).fill(1),
    Uint32Array.of(0, 2, 1),
    new Float64Array(3).fill(0.5),
    new Float32Array(2),
    Float64Array.of(1, 1, 0.1, 2),
  ];
  const changed = (index: number, value: unknown) => valid().with(index, value as never) as Args;
  const detached = new Float32Array(6);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });

  test('nothing that fits', async () => {
    expect(await native.descent(...valid())).toHaveLength(4);
  });

  test.each([
    ['nothing at all', [] as unknown as Args],
    ['projections in float64', changed(0, new Float64Array(6))],
    ['projections in shared memory', changed(0, new Float32Array(new SharedArrayBuffer(24)))],
    ['projections in detached memory', changed(0, detached)],
    ['signed contents', changed(1, Int32Array.of(0, 2, 1))],
    ['labels in an array', changed(2, [0, 1, 0])],
    ['no settings', changed(4, undefined)],
  ])('%s: TypeError', (_, args) => {
    expect(() => native.descent(...args)).toThrow(TypeError);
  });

  test.each([
    ['no rank', changed(3, new Float32Array(0))],
    ['half a row', changed(0, new Float32Array(5))],
    ['no contents for the events', changed(0, new Float32Array(0))],
    ['a content that is not there', changed(1, Uint32Array.of(0, 3, 1))],
    ['a content far away', changed(1, Uint32Array.of(0, 2 ** 32 - 1, 1))],
    ['no events', changed(1, new Uint32Array(0)).with(2, new Float64Array(0)) as Args],
    ['a label too few', changed(2, new Float64Array(2))],
    ['too few settings', changed(4, Float64Array.of(1, 1, 0.1))],
    ...[0, 0.5, -1, Number.NaN, 2 ** 21, Number.POSITIVE_INFINITY].map((epochs): [string, Args] => [
      `${epochs} epochs`,
      changed(4, Float64Array.of(1, 1, 0.1, epochs)),
    ]),
  ] as [string, Args][])('%s: RangeError', (_, args) => {
    expect(() => native.descent(...args)).toThrow(RangeError);
  });
});

describe('a thread that ends while a run is under way', () => {
  /** In a process of its own, since what goes wrong here ends a process. What the run would need is a good second. */
  const long = `import { createRequire } from 'node:module';
    import { Worker, isMainThread, workerData } from 'node:worker_threads';
    const addon = createRequire(import.meta.url)('./build/Release/lora_store.node');
    const [rank, events] = [8, 50_000];
    const begin = (epochs) => addon.descent(new Float32Array(rank * events).fill(0.1),
      Uint32Array.from({ length: events }, (_, i) => i), new Float64Array(events).fill(0.5), new Float32Array(rank).fill(0.1),
      Float64Array.of(1, 1, 0.001, epochs));`;
  const run = (script: string) =>
    promisify(execFile)(process.execPath, ['--input-type=module', '-e', long + script]).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, signal, stdout, stderr }) => ({ code: code ?? signal, stdout, stderr }),
    );

  test('a worker that is stopped, again and again', async () => {
    const worker = `const { parentPort } = require('node:worker_threads');
      const addon = require(process.cwd() + '/build/Release/lora_store.node');
      for (let i = 0; i < 3; i++) addon.descent(new Float32Array(8 * 1000).fill(0.1), new Uint32Array(1000).fill(7),
        new Float64Array(1000).fill(0.5), new Float32Array(8).fill(0.1), Float64Array.of(1, 1, 0.001, 100 + 100 * i))
        .then(() => parentPort.postMessage('done'));
      parentPort.postMessage('begun');`;
    const outcome = await run(`
      let done = 0;
      for (let i = 0; i < 30; i++) {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [] });
        worker.on('message', (message) => message === 'done' && done++);
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        // At different moments of the run.
        const until = performance.now() + i;
        while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve));
        await worker.terminate();
      }
      console.log(done < 90 ? 'stopped in the midst' : 'all done');`);
    expect(outcome).toEqual({ code: 0, stdout: 'stopped in the midst\n', stderr: '' });
  });

  test.each([
    ['process.exit()', `begin(100); setImmediate(() => process.exit(7));`, 7, ''],
    ['an error that nobody catches', `begin(100); setImmediate(() => { process.exitCode = 7; throw 'up'; });`, 1, ''],
    ['the end of the script: the run is waited for', `begin(2).then(({ length }) => console.log(length));`, 0, '10\n'],
  ])('%s', async (_, script, code, stdout) => {
    expect(await run(script)).toMatchObject({ code, stdout });
  });
});
