/**
 * An environment of its own that uses the addon: everything a number of times, or one thing without end. `everything` is for the main
 * thread too, so that all can be held to the same answers.
 */
import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';

const ROWS = 20_000;

function ready(addon, bytes) {
  const facts = new Float64Array(6);
  const record = Buffer.alloc(bytes.length);
  addon.decode(bytes, facts, record);
  const [rank, inputDim, outputDim] = facts;
  const base = new Float32Array(record.buffer, record.byteOffset + 48, rank * inputDim);
  const user = new Float32Array(record.buffer, record.byteOffset + 72 + base.byteLength, outputDim * rank);
  return {
    ...{ addon, bytes, facts, record, rank, inputDim, base, user },
    kernels: addon.kernels(),
    half: addon.halve(record),
    input: new Float32Array(inputDim).fill(0.5),
    preference: new Float32Array(outputDim).fill(0.25),
    out: new Float32Array(outputDim),
    target: new Uint8Array(bytes.length),
    id: bytes.slice(8, 24),
  };
}

/** Each function of the addon once, and what they gave. */
export function everything(addon, bytes) {
  const { kernels, facts, record, half, base, user, rank, input, preference, out, target, id } = ready(addon, bytes);
  const [scores, projected, reflected] = [new Float32Array(1), new Float32Array(rank), new Float32Array(rank)];
  const [stepped, halves] = [user.slice(), new Uint16Array(rank)];
  const encoded = addon.encode(target, id, facts, base, user);
  kernels.forward(base, user, 1, input, out);
  const score = kernels.score(base, user, 1, input, preference);
  kernels.scoreMany(base, user, 1, input, preference, scores);
  kernels.project(base, input, projected);
  kernels.reflect(user, preference, reflected);
  kernels.descend(stepped, preference, projected);
  const fits = [kernels.toHalf(projected, halves), kernels.fromHalf(halves, projected)];
  const expanded = addon.decodeHalf(half, new Float64Array(6));
  const sums = [record, half, expanded, target].map((bytes) => addon.crc32c(bytes, 0));
  const tables = addon.crc32c(record, 0, 'tables');
  const header = new Float64Array(9);
  const entry = addon.readEntryHeader(record, 'key', header);
  return { encoded, score, scores, out, projected, reflected, stepped, halves, fits, sums, tables, header, entry };
}

/** What a thread may be stopped in; each is called again and again. */
export const endless = {
  decode: ({ addon, bytes, facts, target }) => addon.decode(bytes, facts, target),
  halve: ({ addon, record }) => addon.halve(record),
  decodeHalf: ({ addon, half, facts }) => addon.decodeHalf(half, facts),
  encode: ({ addon, target, id, facts, base, user }) => addon.encode(target, id, facts, base, user),
  crc32c: ({ addon, record }) => addon.crc32c(record, 0),
  forward: ({ kernels, base, user, input, out }) => kernels.forward(base, user, 1, input, out),
  scoreMany: (all) => {
    all.inputs ??= new Float32Array(ROWS * all.inputDim).fill(0.5);
    all.scores ??= new Float32Array(ROWS);
    all.kernels.scoreMany(all.base, all.user, 1, all.inputs, all.preference, all.scores);
  },
  readEntryHeader: ({ addon, record }) => addon.readEntryHeader(record, 'key', new Float64Array(9)),
  refusals: ({ addon, facts }) => {
    try {
      addon.decode('bytes', facts, new Uint8Array(5));
    } catch {}
  },
  kernels: ({ addon }) => addon.kernels(),
};

if (workerData?.addon !== undefined) {
  const { addon: path, bytes, task, times = 1 } = workerData;
  const addon = createRequire(import.meta.url)(path);
  if (task === undefined) {
    const answers = everything(addon, bytes);
    for (let i = 1; i < times; i++) {
      if (!isDeepStrictEqual(everything(addon, bytes), answers)) throw new Error(`other answers the ${i}th time`);
    }
    parentPort.postMessage(answers);
  } else {
    const all = ready(addon, bytes);
    endless[task](all);
    parentPort.postMessage('working');
    for (;;) endless[task](all);
  }
}
