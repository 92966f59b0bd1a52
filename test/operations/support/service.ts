/** A small service with a past: adapters with several versions, pruned ones, deleted ones; and what it does after a dump. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { UserLoRAAdapter } from '../../../src/adapter/adapter.js';
import { encodeAdapter } from '../../../src/adapter/codec.js';
import { LoRAStorage, type LoRAStorageOptions } from '../../../src/index.js';
import { smallAdapter } from '../../support/storage.js';

/** Adapters by name. Of `deleted` and `pruned` only the heads know the numbers that were given. */
const NAMES = ['plain', 'pruned', 'deleted'] as const;

export interface Past {
  readonly userId: string;
  /** Names that were never saved before the dump, and are after it. */
  readonly later: string;
  /** What every adapter loads as, undefined where there is none, and how it is listed. */
  readonly loads: ReadonlyMap<string, Buffer | undefined>;
  readonly listed: readonly unknown[];
  /** Highest version given before the dump, by name. */
  readonly given: ReadonlyMap<string, number>;
}

/** Budgets of a node for a busy machine. */
export const patience = { redisTimeoutMs: 5000, maxStalenessMs: 5000, postgresTimeoutMs: 10_000 };

export async function withNode<T>(options: LoRAStorageOptions, use: (node: LoRAStorage) => Promise<T>): Promise<T> {
  const node = await LoRAStorage.open({ ...patience, ...options });
  try {
    return await use(node);
  } finally {
    await node.close();
  }
}

export async function live(node: LoRAStorage): Promise<Past> {
  const [userId, later] = [randomUUID(), 'later'];
  const given = new Map<string, number>([[later, 0]]);
  for (const name of NAMES) {
    for (const seed of [1, 2, 3]) given.set(name, await node.saveAdapter(smallAdapter(userId, seed), name));
  }
  await node.deleteAdapterVersion(userId, 'pruned', 3);
  await node.deleteAdapter(userId, 'deleted');
  return { userId, later, given, ...(await look(node, userId, [...given.keys()])) };
}

/** What an afternoon does to each of them; every tier of `node` knows it afterwards. Returns the highest numbers given. */
export async function liveOn(node: LoRAStorage, { userId, given, later }: Past): Promise<Map<string, number>> {
  const numbers = new Map<string, number>();
  for (const name of given.keys()) numbers.set(name, await node.saveAdapter(smallAdapter(userId, 9), name));
  await node.deleteAdapter(userId, 'pruned');
  for (const name of [...NAMES, later]) await bytesOf(node, userId, name);
  return numbers;
}

/** Every adapter loads as it was dumped, version for version, and is listed so. */
export async function expectAsDumped(node: LoRAStorage, past: Past): Promise<void> {
  const { loads, listed } = await look(node, past.userId, [...past.given.keys()]);
  expect(loads).toEqual(past.loads);
  expect(listed).toEqual(past.listed);
}

/** The next save of each takes a number above all in `given`, and is what is loaded then. */
export async function expectNewNumbers(
  node: LoRAStorage,
  { userId }: Past,
  given: ReadonlyMap<string, number>,
): Promise<void> {
  for (const [name, number] of given) {
    const next = smallAdapter(userId, 100);
    expect(await node.saveAdapter(next, name), name).toBeGreaterThan(number);
    expect(await bytesOf(node, userId, name)).toEqual(encodeAdapter(next));
  }
}

async function look(node: LoRAStorage, userId: string, names: readonly string[]) {
  const loads = new Map<string, Buffer | undefined>();
  for (const name of names) loads.set(name, await bytesOf(node, userId, name));
  const listed = await node.listAdapters(userId);
  for (const { adapterName, version } of listed) {
    const adapter = await node.loadAdapterVersion(userId, adapterName, version);
    loads.set(`${adapterName} ${version}`, encodeAdapter(adapter));
  }
  return { loads, listed };
}

/** Of the latest version; undefined: there is none. */
export async function bytesOf(node: LoRAStorage, userId: string, name: string): Promise<Buffer | undefined> {
  const [adapter] = await node.loadAdapters([{ userId, adapterName: name }]);
  return adapter && encodeAdapter(adapter as UserLoRAAdapter);
}
