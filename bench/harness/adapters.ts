/** Adapters for a case to load: seeded weights of the default shape, saved for as many users. */
import { randomUUID } from 'node:crypto';
import { type LoRAStorage, UserLoRAAdapter } from 'lora-store';

/** So many at a time that Postgres answers each within its budget on a busy machine. */
const AT_ONCE = 8;

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
