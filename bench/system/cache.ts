/** A process that does nothing but keep adapters in memory, and says how large it is. Called through startChild(). */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LoRAStorage } from 'lora-store';
import { userAt } from '../harness/population.js';

export interface Size {
  readonly entries: number;
  /** Of the adapters that are cached. */
  readonly bytes: number;
  readonly rss: number;
  readonly heapUsed: number;
  readonly arrayBuffers: number;
}

const AT_ONCE = 50;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
let storage: LoRAStorage;

/** Warm: code is compiled, pools and buffers are as large as they get. */
export async function open(postgres: string, maxBytes: number, users: number): Promise<Size> {
  const warmUp = await LoRAStorage.open({ postgres, redis: false, memory: false });
  await load(warmUp, 0, users);
  await warmUp.close();
  storage = await LoRAStorage.open({ postgres, redis: false, memory: { maxBytes } });
  return await size();
}

/** Loads users from there up to there. */
export async function fill(from: number, to: number): Promise<Size> {
  await load(storage, from, to);
  return await size();
}

/** The least a body can take: so many allocated with nothing between them. RSS over their bytes. */
export async function allocate(count: number, bytes: number): Promise<number> {
  await settle();
  const before = process.memoryUsage().rss;
  const bodies = Array.from({ length: count }, () => Buffer.allocUnsafeSlow(bytes).fill(1));
  await settle();
  return (process.memoryUsage().rss - before) / (bodies.length * bytes);
}

export async function close(): Promise<void> {
  await storage.close();
}

async function load(into: LoRAStorage, from: number, to: number): Promise<void> {
  for (let first = from; first < to; first += AT_ONCE) {
    const count = Math.min(AT_ONCE, to - first);
    await Promise.all(Array.from({ length: count }, (_, i) => into.loadAdapter(userAt(first + i))));
  }
}

/** Buffers are given back a turn after the objects that held them were collected. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function size(): Promise<Size> {
  await settle();
  const { entries, bytes } = storage.cacheStats().memory;
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { entries, bytes, rss, heapUsed, arrayBuffers };
}
