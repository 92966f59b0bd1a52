// A node of its own for processes.test.ts.
import { LoRAStorage, UserLoRAAdapter } from 'lora-store';

const storage = await LoRAStorage.open({ namespace: process.env.LORA_TEST_NAMESPACE });

/** Saves `count` times at once; the versions they became. */
export function save(userId, count) {
  const adapter = new UserLoRAAdapter(userId).initializeRandom(process.pid);
  return Promise.all(Array.from({ length: count }, () => storage.saveAdapter(adapter)));
}

/** The version this process serves, once it is `expected` or ten seconds have passed. */
export async function latest(userId, expected) {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const { version } = await storage.loadAdapterInfo(userId);
    if (version === expected || performance.now() > deadline) return version;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Whether this process saved the first version. */
export async function saveFirst(userId) {
  try {
    await storage.saveAdapter(new UserLoRAAdapter(userId), 'default', { expectedVersion: 0 });
    return true;
  } catch (error) {
    if (error.code === 'VERSION_CONFLICT') return false;
    throw error;
  }
}
