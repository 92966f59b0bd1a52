/** Golden files of safetensors, and headers that lie. What the golden files hold: test/fixtures/safetensors/README.md. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readPeft, writePeft } from '../../src/operations/peft.js';
import { encodeSafetensors, SafetensorsFile } from '../../src/operations/safetensors.js';
import { SafetensorsError } from '../../src/operations/safetensors-header.js';
import { smallAdapter } from '../support/storage.js';

const USER = '00000000-0000-0000-0000-0000000000aa';
const A = [1, 2, 3, -4, 0.5, -0];
const B = [0.25, -8, 2 ** -14, 1.5];
const NAME_A = 'base_model.model.q.lora_A.weight';
const NAME_B = 'base_model.model.q.lora_B.weight';

const golden = (name: string) => fileURLToPath(new URL(`../fixtures/safetensors/${name}`, import.meta.url));
const config = { peft_type: 'LORA', r: 2, lora_alpha: 4 };

let scratch: string;
let file: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'lora-safetensors-'));
  file = join(scratch, 'adapter_model.safetensors');
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Reads these bytes as a file with that config beside it. */
async function reading(bytes: Uint8Array, settings: object = config, module?: string) {
  writeFileSync(file, bytes);
  writeFileSync(join(scratch, 'adapter_config.json'), JSON.stringify(settings));
  return await readPeft(file, USER, module);
}

function fileOf(header: string | Buffer, data: Uint8Array): Buffer {
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

test.each(['f32', 'f16', 'bf16', 'python-one'])('%s is read to the bit', async (name) => {
  const adapter = await readPeft(golden(`${name}.safetensors`), USER);
  expect([...adapter.baseLayerWeights.data]).toEqual(A);
  expect([...adapter.userLayerWeights.data]).toEqual(B);
  const { userId, rank, inputDim, outputDim, scalingFactor } = adapter;
  expect({ userId, rank, inputDim, outputDim, scalingFactor }).toEqual({
    ...{ userId: USER, rank: 2, inputDim: 3, outputDim: 2, scalingFactor: 2 },
  });
});

test('of several modules one is named, with or without what PEFT puts before it', async () => {
  const path = golden('python.safetensors');
  await expect(readPeft(path, USER)).rejects.toThrow(/--module: "base_model.model.q", "base_model.model.v"/);
  await expect(readPeft(path, USER, 'w')).rejects.toThrow(/choose one with --module/);
  for (const module of ['v', 'base_model.model.v']) {
    const adapter = await readPeft(path, USER, module);
    expect([...adapter.baseLayerWeights.data]).toEqual(A.map((weight) => 2 * weight));
    expect([...adapter.userLayerWeights.data]).toEqual(B);
  }
  const opened = await SafetensorsFile.open(path);
  await expect(opened.read('steps')).rejects.toThrow(/of type I64: save it as F32, F16, BF16/);
  await opened.close();
});

test('what is written is what the Python package writes, byte for byte', () => {
  const tensors = [
    { name: NAME_A, shape: [2, 3], data: Float32Array.from(A) },
    { name: NAME_B, shape: [2, 2], data: Float32Array.from(B) },
  ];
  expect(encodeSafetensors(tensors, { format: 'pt' })).toEqual(readFileSync(golden('python-one.safetensors')));
});

test('an adapter goes out and comes back as it was', async () => {
  const target = join(mkdtempSync(join(scratch, 'out-')), 'adapter_model.safetensors');
  const adapter = smallAdapter(USER);
  adapter.trainingIterations = 41;
  await writePeft(target, adapter, 'layers.0.q_proj');
  const back = await readPeft(target, USER, 'layers.0.q_proj');
  expect(back.baseLayerWeights).toEqual(adapter.baseLayerWeights);
  expect(back.userLayerWeights).toEqual(adapter.userLayerWeights);
  expect([back.scalingFactor, back.trainingIterations]).toEqual([adapter.scalingFactor, 41]);
  await expect(writePeft(target, adapter, 'q')).rejects.toThrow(/is there already/);
});

test.each([
  [{ ...config, lora_alpha: 3 }, 1.5],
  [{ ...config, use_rslora: true }, Math.fround(4 / Math.SQRT2)],
  [{ ...config, alpha_pattern: { q: 32 } }, 16],
  [{ ...config, alpha_pattern: { 'other.q': 32 } }, 2],
  [{ ...config, alpha_pattern: { other: 8, q: 32 }, lora_alpha: 6 }, 16],
  [{ ...config, r: 8, rank_pattern: { q: 2 } }, 2],
  [
    { ...config, r: 8, rank_pattern: { q: 2 }, alpha_pattern: { q: 32 }, use_rslora: true },
    Math.fround(32 / Math.SQRT2),
  ],
])('alpha and r of %j scale by %d', async (settings, scaling) => {
  expect((await reading(readFileSync(golden('f32.safetensors')), settings)).scalingFactor).toBe(scaling);
});

test.each([
  [{ ...config, r: 4 }, /r is 4, and A has 2 rows/],
  [{ ...config, lora_alpha: '4' }, /no number lora_alpha/],
  [{ ...config, r: undefined }, /r is undefined/],
  [{ ...config, peft_type: 'IA3' }, /another kind/],
  [{ ...config, alpha_pattern: { '.*q': 32 } }, /write names of modules instead/],
  [{ ...config, rank_pattern: { q: 4 } }, /r is 4, and A has 2 rows/],
  [{ ...config, rank_pattern: 'q' }, /a rank_pattern that is no object/],
  [{ ...config, use_rslora: 1 }, /a use_rslora that is no boolean/],
  [{ ...config, use_dora: true }, /has use_dora: .*; train it without/],
  [{ ...config, lora_bias: true }, /has lora_bias: B has a bias/],
  [{ ...config, use_qalora: true }, /has use_qalora/],
  [{ ...config, use_bdlora: { nblocks: 2 } }, /has use_bdlora/],
  [{ ...config, kasa_config: {} }, /has kasa_config/],
  [{ ...config, monteclora_config: {} }, /has monteclora_config/],
  [{ ...config, arrow_config: {} }, /has arrow_config/],
  [{ ...config, alora_invocation_tokens: [1] }, /has alora_invocation_tokens/],
  [{ ...config, init_lora_weights: 'pissa_niter_4' }, /"pissa_niter_4": .* path_initial_model_for_weight_conversion/],
  [{ ...config, init_lora_weights: 'OLoRA' }, /taken out of the model/],
  [[], /holds no object/],
])('a config that says otherwise, %j, is refused', async (settings, words) => {
  await expect(reading(readFileSync(golden('f32.safetensors')), settings)).rejects.toThrow(words);
});

test.each([
  ['layers.0.q', { 'layers.0.q': 8, q: 16 }, 4],
  ['layers.0.q', { q: 16, 'layers.0.q': 8 }, 8],
  ['layers.0.q_proj', { 'q.proj': 8 }, 4], // a dot of an expression
  ['layers.0.q_proj', { proj: 8 }, 2],
  ['layers.0', { 0: 8, 'layers.0': 8 }, 4],
])('of %s the first pattern that fits holds: %j scale by %d', async (module, pattern, scaling) => {
  const settings = { ...config, alpha_pattern: pattern };
  expect((await reading(fileOf(named(module), DATA), settings)).scalingFactor).toBe(scaling);
});

test('what JSON does not keep in order is not chosen among', async () => {
  const refused = reading(fileOf(named('layers.0'), DATA), { ...config, alpha_pattern: { 'layers.0': 8, 0: 16 } });
  await expect(refused).rejects.toThrow(/several of alpha_pattern that fit "layers.0": leave one/);
});

test.each([
  { bias: 'none' },
  { bias: 'all' }, // of a module that has none
  { bias: 'lora_only' },
  { fan_in_fan_out: true }, // of the weight of the model; A and B are as ever
  { fan_in_fan_out: null, use_dora: null, use_rslora: null, rank_pattern: null, alpha_pattern: null, lora_bias: false },
  { init_lora_weights: 'gaussian', modules_to_save: ['head'], layer_replication: [[0, 2]], velora_config: {} },
])('%j computes the same', async (more) => {
  const adapter = await reading(readFileSync(golden('f32.safetensors')), { ...config, ...more });
  expect([...adapter.baseLayerWeights.data, ...adapter.userLayerWeights.data]).toEqual([...A, ...B]);
  expect(adapter.scalingFactor).toBe(2);
});

/** JSON of the golden header, changed. */
function header(change: (tensors: Record<string, Record<string, unknown>>) => void): string {
  const tensors: Record<string, Record<string, unknown>> = {
    [NAME_A]: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
    [NAME_B]: { dtype: 'F32', shape: [2, 2], data_offsets: [24, 40] },
  };
  change(tensors);
  return JSON.stringify(tensors);
}

/** The golden header of another module. */
const named = (module: string) => header(() => undefined).replaceAll('model.q.', `model.${module}.`);
/** The golden header with a tensor more. */
const beside = (name: string) =>
  header((tensors) => Object.assign(tensors, { [name]: { dtype: 'F32', shape: [0], data_offsets: [0, 0] } }));
const set = (name: string, fields: object) => header((tensors) => Object.assign(tensors[name] as object, fields));
const DATA = Buffer.alloc(40);

test.each<[string, string | Buffer, RegExp]>([
  ['an overlap', set(NAME_B, { data_offsets: [20, 36] }), /overlaps another/],
  ['one tensor twice', set(NAME_B, { shape: [2, 3], data_offsets: [0, 24] }), /overlaps another/],
  ['a hole', set(NAME_B, { data_offsets: [28, 44] }), /hole before it/],
  ['bytes behind the last', set(NAME_B, { shape: [1, 2], data_offsets: [24, 32] }), /take 32 bytes, and 40 follow/],
  ['offsets beyond the file', set(NAME_B, { shape: [2, 4], data_offsets: [24, 56] }), /take 56 bytes, and 40/],
  ['offsets that go back', set(NAME_B, { shape: [0], data_offsets: [24, 20] }), /takes 0 bytes/],
  ['offsets below zero', set(NAME_B, { data_offsets: [-16, 0] }), /no two whole numbers/],
  ['offsets that are no integers', set(NAME_B, { data_offsets: [24.5, 40.5] }), /no two whole numbers/],
  ['a size that does not fit', set(NAME_B, { shape: [2, 3] }), /takes 24 bytes/],
  ['a shape that wraps around 2^64', set(NAME_B, { shape: [2 ** 33, 2 ** 33] }), /too large/],
  ['an unknown type', set(NAME_B, { dtype: 'F4' }), /unknown dtype/],
  ['a type by inheritance', set(NAME_B, { dtype: 'constructor' }), /unknown dtype/],
  ['a field too many', set(NAME_B, { zero: 1 }), /fields besides/],
  ['no object', header((tensors) => Object.assign(tensors, { x: null })), /described by no object/],
  [
    'metadata of numbers',
    header((tensors) => Object.assign(tensors, { __metadata__: { a: 1 } })),
    /strings to strings/,
  ],
  ['a name twice', set(NAME_B, {}).replace('_B', '_A'), /twice/],
  ['a name twice, once escaped', set(NAME_B, {}).replace('lora_B', 'lora\\u005fA'), /twice/],
  ['a field twice', set(NAME_B, {}).replace('"shape":[2,2]', '"shape":[2,2],"shape":[4,1]'), /"shape" twice/],
  ['a space before it', ` ${set(NAME_B, {})}`, /does not begin with/],
  ['no JSON', `${set(NAME_B, {})}}`, /no JSON/],
  ['no UTF-8', Buffer.from(set(NAME_B, {}).replace('lora_B', 'lora_\xff'), 'latin1'), /no JSON in UTF-8/],
  ['a magnitude of DoRA', beside('base_model.model.q.lora_magnitude_vector'), /no place.*another kind of adapter/],
  ["a bias of B's", beside('base_model.model.q.lora_B.bias'), /no place.*lora_bias=False/],
  ['a bias, of bias="all"', beside('base_model.model.q.bias'), /"base_model.model.q.bias" has no place.*bias='none'/],
  [
    'a bias, of "lora_only"',
    beside('base_model.model.q.base_layer.bias'),
    /no place.*bias='none', or put it into the model/,
  ],
  ['a module saved whole', beside('base_model.model.q.weight'), /no place.*modules_to_save, or put it into the model/],
  ['a base layer', beside('base_model.model.q.base_layer.weight'), /no place.*modules_to_save/],
  ['a copy of it', beside('base_model.model.q.modules_to_save.default.weight'), /no place.*modules_to_save/],
  [
    'no B',
    header((t) => {
      t.b = t[NAME_B] as never;
      delete t[NAME_B];
    }),
    /is missing/,
  ],
  [
    'no A',
    header((t) => {
      t.a = t[NAME_A] as never;
      delete t[NAME_A];
    }),
    /no tensor is named/,
  ],
  ['an A that is no matrix', set(NAME_A, { shape: [6] }), /no matrix/],
  ['ranks that differ', set(NAME_B, { shape: [4, 1] }), /A has rank 2, and B 1/],
])('a header with %s is refused', async (_, text, words) => {
  const refused = reading(fileOf(text, DATA));
  await expect(refused).rejects.toThrow(SafetensorsError);
  await expect(refused).rejects.toThrow(words);
});

test.each(['base_model.model.qkv.bias', 'base_model.model.norm.weight', 'base_model.model.bias', 'bias'])(
  '%s is of no module that is read',
  async (name) => {
    expect((await reading(fileOf(beside(name), DATA))).rank).toBe(2);
  },
);

test('a module inside of another one is chosen by itself', async () => {
  const bytes = readFileSync(golden('python.safetensors'));
  const dataAt = 8 + bytes.readUInt32LE(0);
  const text = bytes.toString('utf8', 8, dataAt).replaceAll('model.v.', 'model.q.base_layer.v.');
  for (const module of ['q', 'q.base_layer.v']) {
    const adapter = await reading(fileOf(text, bytes.subarray(dataAt)), config, module);
    expect([...adapter.userLayerWeights.data]).toEqual(B);
  }
});

test.each([
  [(2n ** 64n - 1n).toString(), /larger than/],
  ['100000001', /larger than/],
  ['41', /ends before its header/],
  ['0', /does not begin with/],
])('a header that says it has %s bytes costs nothing', async (length, words) => {
  const bytes = Buffer.alloc(48);
  bytes.writeBigUInt64LE(BigInt(length));
  await expect(reading(bytes)).rejects.toThrow(words);
});

test('a file that says it is 100 MB of header, and is, is refused for what is in it', async () => {
  await reading(readFileSync(golden('f32.safetensors')));
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(100_000_000n);
  writeFileSync(file, bytes);
  truncateSync(file, 100_000_008);
  await expect(readPeft(file, USER)).rejects.toThrow(/does not begin with/);
});

test('NaN and infinity are refused in every type', async () => {
  for (const [name, bad] of [
    ['f32', [0, 0, 0xc0, 0x7f]],
    ['f32', [0, 0, 0x80, 0xff]],
    ['f16', [0, 0x7c]],
    ['f16', [1, 0xfc]],
    ['bf16', [0x80, 0x7f]],
    ['bf16', [0xc0, 0xff]],
  ] as const) {
    const bytes = readFileSync(golden(`${name}.safetensors`));
    bytes.set(bad, bytes.length - bad.length);
    await expect(reading(bytes)).rejects.toThrow(/lora_B.weight" has a NaN or an infinity at index 3/);
  }
});

test('each flipped bit of a header, and each cut, is an error or changes nothing', async () => {
  for (const name of ['f32', 'f16', 'bf16']) {
    const whole = readFileSync(golden(`${name}.safetensors`));
    const dataAt = 8 + whole.readUInt32LE(0);
    let refused = 0;
    for (let bit = 0; bit < 8 * dataAt; bit++) {
      const bytes = Buffer.from(whole);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      const answer = await reading(bytes).catch((error: unknown) => error);
      if (answer instanceof SafetensorsError) refused++;
      else
        expect(answer, `bit ${bit}`).toMatchObject({
          rank: 2,
          baseLayerWeights: { data: Float32Array.from(A) },
          userLayerWeights: { data: Float32Array.from(B) },
        });
    }
    expect(refused).toBeGreaterThan(4 * dataAt);
    for (let end = 0; end < whole.length; end++) {
      await expect(reading(whole.subarray(0, end)), `cut at ${end}`).rejects.toThrow(SafetensorsError);
    }
  }
});
