/**
 * What it costs to turn 41,052 bytes into an adapter and back, in full and in half precision. The limits (a copy, Rust) are
 * held against it apart from the other formats: these leave a heap behind in which everybody is slower.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { codec, encodeAdapter } from 'lora-store';
import { Packr } from 'msgpackr';
import { adapterFromRecord } from '#dist/adapter/adapter.js';
import { crc32c, decodeHalf, decodeRecord, halve } from '#dist/adapter/codec.js';
import { portable } from '#dist/adapter/portable.js';
import { type AdapterRecord, recordBytes, type Weights } from '#dist/adapter/record.js';
import { root } from '../../test/support/root.js';
import type { Bench, Case } from '../harness/bench.js';
import { type Rust, startRust } from '../harness/rust.js';
import type { Side } from '../harness/side.js';

const FILE = join(root, 'test/fixtures/bincode/seed-8x512-768.bin');

export default {
  question: 'What does it cost to decode and encode an adapter of 41,052 bytes?',
  async run(bench) {
    assert.equal(codec.kind, 'native', codec.reason);
    const bytes = readFileSync(FILE);
    const record = decodeRecord(bytes);
    bench.doing('building the Rust program');
    const rust = await startRust(FILE);
    if (typeof rust === 'string') bench.note(`Without Rust: ${rust}.`);
    else for (const [what, version] of Object.entries(rust.versions)) bench.version(what, version);
    try {
      await decoding(bench, bytes, record, rust);
      await encoding(bench, bytes, record, rust);
    } finally {
      if (typeof rust !== 'string') rust.stop();
    }
    await halving(bench, bytes, record);
  },
} satisfies Case;

async function decoding(bench: Bench, bytes: Buffer, record: AdapterRecord, rust: Rust | string): Promise<void> {
  const checksum = { seed: 0, expected: crc32c(bytes) };
  const fields = fieldsOf(record);
  const check = (answer: Weights) => assert.deepEqual(fieldsOf(answer), fields);
  const packr = new Packr({ moreTypes: true });
  const [v8, packed, json] = [serialize(fields), packr.pack(fields), jsonOf(fields)];
  const decode: Side = { name: 'decode', run: () => decodeRecord(bytes), check };
  const sides: Side[] = [
    decode,
    { name: 'decode with checksum', run: () => decodeRecord(bytes, checksum), check },
    { name: 'plain copy', run: () => copyOf(bytes), check: (copy: Buffer) => assert.deepEqual(copy, bytes) },
  ];
  if (typeof rust !== 'string') sides.push(rust.side('Rust bincode', 'decode'));
  const { ratio } = await bench.compare({ group: 'decode', sides, seconds: 0.25 * bench.seconds });
  for (const [name, what] of [
    ['decode', 'decode checked'],
    ['decode with checksum', 'decode with checksum'],
  ] as const) {
    const [of, why] = typeof rust === 'string' ? [null, rust] : [ratio(name, 'Rust bincode')];
    bench.target(`${what} / Rust bincode unchecked`, '<=', 0.35, of, why);
    bench.target(`${what} / plain copy`, '<=', 1.6, ratio(name, 'plain copy'));
    ratio(name, 'plain copy', 'mean');
    if (typeof rust !== 'string') ratio(name, 'Rust bincode', 'mean');
  }

  const others: Side[] = [
    decode,
    { name: 'portable', run: () => portable.decode(bytes), check },
    { name: 'v8.deserialize', run: () => deserialize(v8), check },
    { name: 'msgpackr', run: () => packr.unpack(packed), check },
    { name: 'JSON', run: () => parsed(json), check },
  ];
  const formats = await bench.compare({
    group: 'decode, of other formats',
    sides: others,
    seconds: 0.15 * bench.seconds,
  });
  for (const { name } of others.slice(1)) formats.ratio('decode', name);
}

async function encoding(bench: Bench, bytes: Buffer, record: AdapterRecord, rust: Rust | string): Promise<void> {
  // Of weights that no record holds: those of an adapter that was loaded and not changed are only copied.
  const adapter = adapterFromRecord(record, 0).updateWeights(() => {});
  const fields = fieldsOf(record);
  const packr = new Packr({ moreTypes: true });
  const check = (answer: Buffer) => assert.deepEqual(answer, bytes);
  const encode: Side = { name: 'encode', run: () => encodeAdapter(adapter), check };
  const sides: Side[] = [encode, { name: 'plain copy', run: () => copyOf(bytes), check }];
  if (typeof rust !== 'string') sides.push(rust.side('Rust bincode', 'encode'));
  const { ratio } = await bench.compare({ group: 'encode', sides, seconds: 0.15 * bench.seconds });
  const [of, why] = typeof rust === 'string' ? [null, rust] : [ratio('encode', 'Rust bincode')];
  bench.target('encode / Rust bincode serialize', '<=', 0.6, of, why);
  ratio('encode', 'plain copy');

  const others: Side[] = [
    encode,
    { name: 'portable', run: () => portableBytes(record), check },
    {
      name: 'v8.serialize',
      run: () => serialize(fields),
      check: (v8: Buffer) => assert.deepEqual(deserialize(v8), fields),
    },
    {
      name: 'msgpackr',
      run: () => packr.pack(fields),
      check: (packed: Buffer) => assert.deepEqual(packr.unpack(packed), fields),
    },
    { name: 'JSON', run: () => jsonOf(fields), check: (json: string) => assert.deepEqual(parsed(json), fields) },
  ];
  const formats = await bench.compare({
    group: 'encode, to other formats',
    sides: others,
    seconds: 0.1 * bench.seconds,
  });
  for (const { name } of others.slice(1)) formats.ratio('encode', name);
}

async function halving(bench: Bench, bytes: Buffer, record: AdapterRecord): Promise<void> {
  const half = halve(record) as Buffer;
  const expected = portable.halve(record) as Buffer;
  const rounded = fieldsOf(portable.decodeHalf(half));
  const checkHalf = (answer: Buffer) => assert.deepEqual(answer, expected);
  const checkWhole = (answer: Weights) => assert.deepEqual(fieldsOf(answer), rounded);
  const seconds = 0.07 * bench.seconds;
  const halving = await bench.compare({
    group: 'halve: f32 to f16',
    sides: [
      { name: 'halve', run: () => halve(record), check: checkHalf },
      { name: 'portable', run: () => portable.halve(record), check: checkHalf },
      {
        name: 'plain copy of the f32',
        run: () => copyOf(bytes),
        check: (copy: Buffer) => assert.deepEqual(copy, bytes),
      },
    ],
    seconds,
  });
  halving.ratio('halve', 'plain copy of the f32');
  const expanding = await bench.compare({
    group: 'expand: f16 to f32',
    sides: [
      { name: 'decodeHalf', run: () => decodeHalf(half), check: checkWhole },
      { name: 'portable', run: () => portable.decodeHalf(half), check: checkWhole },
      {
        name: 'decode of the f32',
        run: () => decodeRecord(bytes),
        check: (answer: Weights) => assert.deepEqual(fieldsOf(answer), fieldsOf(record)),
      },
    ],
    seconds,
  });
  expanding.ratio('decodeHalf', 'decode of the f32');
}

/** What a library without a format for it is handed: the same numbers in a plain object. */
function fieldsOf({ userId, rank, inputDim, outputDim, scalingFactor, base, user }: Weights): Weights {
  return { userId, rank, inputDim, outputDim, scalingFactor, base, user };
}

/** JSON knows no typed arrays: numbers in brackets, and back. */
function jsonOf(weights: Weights): string {
  return JSON.stringify({ ...weights, base: [...weights.base], user: [...weights.user] });
}

function parsed(json: string): Weights {
  const weights = JSON.parse(json) as Weights;
  return { ...weights, base: Float32Array.from(weights.base), user: Float32Array.from(weights.user) };
}

/** Into memory of its own, as decode allocates it. */
function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

function portableBytes(record: AdapterRecord): Buffer {
  const target = Buffer.allocUnsafeSlow(recordBytes(record.rank, record.inputDim, record.outputDim));
  portable.encodeInto(target, record, record.trainingIterations);
  return target;
}
