/** A node that hears of other people's saves and does nothing else. Called through startChild(). */
import { LoRAStorage, type LoRAStorageOptions } from 'lora-store';

let storage: LoRAStorage;
let heard: Promise<number> | undefined;

export async function open(options: LoRAStorageOptions): Promise<void> {
  storage = await LoRAStorage.open(options);
}

/** Microseconds of CPU since the process began. */
export function cpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** From now on it is known when it is heard that this user's adapter is no longer what memory holds. */
export async function awaitWordOf(userId: string): Promise<void> {
  await storage.loadAdapter(userId);
  heard = new Promise((resolve) => {
    storage.on('invalidated', (event) => {
      if (event.userId === userId) resolve(cpu());
    });
  });
}

/** Resolves with the CPU taken so far when it was. */
export async function word(): Promise<number | undefined> {
  return await heard;
}

export async function close(): Promise<void> {
  await storage.close();
}
