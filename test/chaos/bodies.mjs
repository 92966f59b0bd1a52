// Weights that tell what they are: which write they come from, whose they are, and whether a bit of them is wrong.
import { encodeAdapter, UserLoRAAdapter } from 'lora-store';

const shape = { rank: 2, inputDim: 32, outputDim: 32 };

/** The adapter of one write. `write` is below 2^24, so that a float holds it. */
export function bodyOf(userId, name, write) {
  const adapter = new UserLoRAAdapter(userId, shape);
  adapter.trainingIterations = write;
  return adapter.updateWeights((base, user) => fill(base, user, tag(userId), tag(name), write));
}

/** The same as the bytes of a row. */
export function recordOf(userId, name, write) {
  return Buffer.from(encodeAdapter(bodyOf(userId, name, write)));
}

/** What a body says of itself. exact: every weight is what that write put there. */
export function readBody(adapter) {
  const { baseLayerWeights: base, userLayerWeights: user, trainingIterations } = adapter;
  const [write, userTag, nameTag] = base.data;
  const expected = { base: new Float32Array(base.data.length), user: new Float32Array(user.data.length) };
  fill(expected.base, expected.user, userTag, nameTag, write);
  const exact =
    trainingIterations === write &&
    expected.base.every((weight, i) => weight === base.data[i]) &&
    expected.user.every((weight, i) => weight === user.data[i]);
  return { write, userTag, nameTag, exact };
}

/** 24 bits of a name (FNV-1a). */
export function tag(text) {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193);
  return hash >>> 8;
}

function fill(base, user, userTag, nameTag, write) {
  let state = (userTag ^ Math.imul(nameTag, 31) ^ Math.imul(write, 0x9e3779b1)) >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
  for (let i = 0; i < base.length; i++) base[i] = next();
  for (let i = 0; i < user.length; i++) user[i] = next();
  base.set([write, userTag, nameTag]);
}
