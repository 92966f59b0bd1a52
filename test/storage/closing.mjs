// A node that opens, works and closes, for processes.test.ts.
import { LoRAStorage, UserLoRAAdapter } from 'lora-store';

/** What keeps this process alive after close() that did not before open(). */
export async function resourcesLeft(userId) {
  const before = process.getActiveResourcesInfo();
  const storage = await LoRAStorage.open({ namespace: process.env.LORA_TEST_NAMESPACE });
  await storage.saveAdapter(new UserLoRAAdapter(userId));
  await storage.loadAdapter(userId);
  const during = process.getActiveResourcesInfo();
  await storage.close();
  return { during: without(during, before), after: without(process.getActiveResourcesInfo(), before) };
}

function without(resources, known) {
  const rest = [...known];
  return resources.filter((resource) => {
    const at = rest.indexOf(resource);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}
