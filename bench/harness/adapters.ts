/** Adapters for a case to load: seeded weights of the default shape, saved for as many users, and looked at in turn. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type LoRAStorage, type ReadonlyFloat32Array, UserLoRAAdapter } from 'lora-store';

/** So many at a time that Postgres answers each within its budget on a busy machine. */
const AT_ONCE = 8;

/** Below it a half is no longer precise to a share of itself. */
const SMALLEST_NORMAL_HALF = 2 ** -14;

/** Saved under the default name of a storage that creates missing users; in that order. */
export async function savedAdapters(storage: LoRAStorage, count: number): Promise<UserLoRAAdapter[]> {
  const adapters = Array.from({ length: count }, (_, i) => new UserLoRAAdapter(randomUUID()).initializeRandom(i));
  const left = adapters.values();
  const saver = async () => {
    for (const adapter of left) await storage.saveAdapter(adapter);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, saver));
  return adapters;
}

/** A check: is the answer that adapter? rounding: how far from it, as a share of it, a weight may be. */
export function isAdapter(expected: UserLoRAAdapter, rounding = 0): (answer: UserLoRAAdapter) => void {
  return (answer) => {
    assert.equal(answer.userId, expected.userId);
    alike(answer.baseLayerWeights.data, expected.baseLayerWeights.data, rounding);
    alike(answer.userLayerWeights.data, expected.userLayerWeights.data, rounding);
  };
}

function alike(weights: ReadonlyFloat32Array, expected: ReadonlyFloat32Array, rounding: number): void {
  assert.equal(weights.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    const [weight, wanted] = [weights[i] as number, expected[i] as number];
    const allowed = rounding * Math.max(Math.abs(wanted), SMALLEST_NORMAL_HALF);
    assert.ok(Math.abs(weight - wanted) <= allowed, `weight ${i} is ${weight}, not ${wanted}`);
  }
}

/** `run` with the first, the second and so on, round and round. Each caller has a turn of its own. */
export function takingTurns<T, R>(all: readonly T[], run: (one: T) => R): () => R {
  let i = -1;
  return () => {
    i = (i + 1) % all.length;
    return run(all[i] as T);
  };
}
