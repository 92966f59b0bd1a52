// A node of its own for old-redis.test.ts, to be killed after its commit.
import { LoRAStorage, UserLoRAAdapter } from 'lora-store';

const { LORA_TEST_NAMESPACE: namespace, LORA_TEST_POSTGRES: postgres, LORA_TEST_REDIS: redis } = process.env;
const storage = await LoRAStorage.open({ postgres, redis, namespace });

export function save(userId) {
  return storage.saveAdapter(new UserLoRAAdapter(userId).initializeRandom(2));
}

export function remove(userId) {
  return storage.deleteAdapter(userId);
}
