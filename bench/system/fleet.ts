/** Nodes in processes of their own over one Postgres and, if asked for, one Redis; users are there, and caches are warm. */
import type { LoRAStorageOptions } from 'lora-store';
import { encodeAdapter, UserLoRAAdapter } from 'lora-store';
import { type Child, startChild } from '../../test/support/processes.js';
import type { ServerSettings } from '../../test/support/servers/server.js';
import type { Bench } from '../harness/bench.js';
import { populate, userAt } from '../harness/population.js';
import { entriesForHitRate, popularity } from './zipf.js';

export interface Fleet {
  /** Its URL. */
  readonly postgres: string;
  readonly nodes: readonly [Child, ...Child[]];
  /** One more, warm where it has a memory. */
  add(hitRate: number | undefined, options?: LoRAStorageOptions): Promise<Child>;
  close(): Promise<void>;
}

export interface FleetPlan {
  readonly users: number;
  readonly nodes: number;
  /** Of memory; undefined: nodes open as their options say, with nothing in their caches. */
  readonly hitRate?: number;
  readonly settings?: ServerSettings;
}

export async function openFleet(bench: Bench, { users, nodes, hitRate, settings }: FleetPlan): Promise<Fleet> {
  bench.doing(`writing ${users.toLocaleString('en-US')} adapters`);
  const [postgres, redis] = await Promise.all([bench.servers.postgres(settings), bench.servers.redis()]);
  await populate(postgres.url, { count: users });
  const children: Child[] = [];
  const close = async () => {
    for (const child of children) await child.kill();
  };
  const add: Fleet['add'] = async (rate, options = {}) => {
    bench.doing('warming a node');
    const child = await startChild(new URL('node.js', import.meta.url));
    children.push(child);
    const memory = rate === undefined ? {} : { memory: { maxBytes: bytesForHitRate(users, rate) } };
    await child.call('open', { postgres: postgres.url, redis: redis.url, ...memory, ...options }, users);
    if (rate !== undefined) await child.call('warm');
    return child;
  };
  try {
    for (let i = 0; i < nodes; i++) await add(hitRate);
  } catch (error) {
    await close();
    throw error;
  }
  return { postgres: postgres.url, nodes: [...children] as [Child, ...Child[]], add, close };
}

/** memory.maxBytes with which that share of Zipf-distributed loads is answered from memory. */
export function bytesForHitRate(users: number, hitRate: number): number {
  const adapter = encodeAdapter(new UserLoRAAdapter(userAt(0))).length;
  return adapter * Math.max(1, entriesForHitRate(popularity(users), hitRate));
}
