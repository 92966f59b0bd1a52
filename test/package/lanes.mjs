/**
 * Run by an emulated CPU, on the addon that its first argument names: whether the lanes its second argument names give what
 * plain arithmetic gives. Prints what was compared, as JSON; an error where they differ.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const [path, lanes] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(path);
const [fast, scalar] = [addon.kernels(lanes), addon.kernels('scalar')];

console.log(JSON.stringify({ halves: compareHalves(), sums: compareSums(), checksums: compareChecksums() }));

/** Every finite half, and every float at which, or next to which, rounding is decided. */
function compareHalves() {
  const halves = Uint16Array.from({ length: 0x10000 }, (_, i) => i).filter((half) => (half & 0x7c00) !== 0x7c00);
  const [expanded, expected] = [new Float32Array(halves.length), new Float32Array(halves.length)];
  assert(fast.fromHalf(halves, expanded) && scalar.fromHalf(halves, expected));
  assert.deepEqual(new Uint32Array(expanded.buffer), new Uint32Array(expected.buffer));

  const patterns = new Uint32Array(expected.buffer);
  // A half keeps ten of the 23 bits behind the point: 2^12 is the middle between it and the next one.
  const near = Uint32Array.from({ length: 6 * patterns.length }, (_, i) => {
    const size = (patterns[Math.floor(i / 6)] & 0x7fffffff) + (i % 6 < 3 ? 0 : 0x1000) + (i % 3) - 1;
    return (size & 0x7fffffff) | (patterns[Math.floor(i / 6)] & 0x80000000);
  });
  const floats = new Float32Array(near.buffer).filter((value) => Math.abs(value) < 65_520);
  const [rounded, reference] = [new Uint16Array(floats.length), new Uint16Array(floats.length)];
  assert(fast.toHalf(floats, rounded) && scalar.toHalf(floats, reference));
  assert.deepEqual(rounded, reference);
  return halves.length + floats.length;
}

/** forward() and scoreMany() at dimensions that no lanes divide, within 1e-5 of the sums' absolute values. */
function compareSums() {
  const [rank, inputDim, outputDim, count] = [9, 515, 771, 3];
  const vector = (length, step) => Float32Array.from({ length }, (_, i) => Math.sin(step * (i + 1)));
  const [base, user] = [vector(rank * inputDim, 0.7), vector(outputDim * rank, 0.9)];
  const [inputs, preference] = [vector(count * inputDim, 1.1), vector(outputDim, 1.3)];
  const out = new Float32Array(outputDim);
  const scores = new Float32Array(count);
  fast.forward(base, user, 2, inputs.subarray(0, inputDim), out);
  fast.scoreMany(base, user, 2, inputs, preference, scores);

  for (let candidate = 0; candidate < count; candidate++) {
    const sums = { score: 0, size: 0 };
    const hidden = Array.from({ length: rank }, (_, k) => {
      const terms = Array.from(
        { length: inputDim },
        (_, j) => base[k * inputDim + j] * inputs[candidate * inputDim + j],
      );
      return { value: total(terms), size: total(terms.map(Math.abs)) };
    });
    for (let row = 0; row < outputDim; row++) {
      const value = 2 * total(hidden.map((h, k) => user[row * rank + k] * h.value));
      const size = 2 * total(hidden.map((h, k) => Math.abs(user[row * rank + k]) * h.size));
      if (candidate === 0) assert(Math.abs(out[row] - value) <= 1e-5 * size, `forward, row ${row}`);
      sums.score += preference[row] * value;
      sums.size += Math.abs(preference[row]) * size;
    }
    assert(Math.abs(scores[candidate] - sums.score) <= 1e-5 * sums.size, `score ${candidate}`);
  }
  return outputDim + count;
}

function total(terms) {
  return terms.reduce((sum, term) => sum + term, 0);
}

function compareChecksums() {
  const bytes = Uint8Array.from({ length: 4096 }, (_, i) => (i * 131) ^ (i >> 5));
  const lengths = [...Array(200).keys(), 1535, 1536, 1537, 3072, 4000];
  for (const length of lengths) {
    const part = bytes.subarray(3, 3 + length);
    assert.equal(addon.crc32c(part, 5, 'instruction'), addon.crc32c(part, 5, 'tables'));
  }
  return lengths.length;
}
