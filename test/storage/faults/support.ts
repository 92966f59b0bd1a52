/** What the tests of faults share: nodes behind proxies, statements counted, staleness measured on a monotonic clock. */
import pg from 'pg';
import { encodeAdapter } from '../../../src/adapter/codec.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { type FaultProxy, startProxy } from '../../support/proxy.js';
import { type Bench, smallAdapter } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';

/** What a busy machine may add to a bound: a moment in which nobody is scheduled. */
export const SLACK_MS = 1500;

export function proxyTo(url: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(url);
  return startProxy(Number(port), hostname);
}

/** The code of the error it rejects with; 'none' where it does not. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'none',
    (error) => error.code ?? String(error),
  );
}

/** The version a load answers, or the code of its error. */
export async function versionAt(node: LoRAStorage, userId: string, adapterName = 'default'): Promise<number | string> {
  return await node.loadAdapterInfo(userId, adapterName).then(
    ({ version }) => version,
    (error) => error.code,
  );
}

export async function earIs(node: LoRAStorage, state: 'live' | 'down'): Promise<void> {
  await waitFor(async () => (await node.health()).changeFeed === state, { what: `a change feed that is ${state}` });
}

/**
 * Loads until `expected` is answered, and for how many ms from now on a load was begun that was answered otherwise. Call
 * it when the change is committed.
 */
export async function staleFor(node: LoRAStorage, userId: string, expected: number | string): Promise<number> {
  const committed = performance.now();
  let staleMs = 0;
  await waitFor(
    async () => {
      const begun = performance.now();
      if ((await versionAt(node, userId)) === expected) return true;
      staleMs = begun - committed;
      return false;
    },
    { what: `version ${expected}`, intervalMs: 5 },
  );
  return staleMs;
}

/** A pool of a caller's that writes down the names of the statements it sends. */
export function countingPool(url: string, max: number) {
  const sent: string[] = [];
  class CountingClient extends pg.Client {
    override query(...args: unknown[]): never {
      const { name } = args[0] as { name?: string };
      if (name !== undefined) sent.push(name.replace('lora_store_', ''));
      return (super.query as (...args: unknown[]) => never)(...args);
    }
  }
  const pool = new pg.Pool({ connectionString: url, max, Client: CountingClient as unknown as new () => pg.Client });
  return { pool, sent };
}

/** As a service of somebody else's would: users, each with one small adapter, in one statement. */
export async function insertAdapters(bench: Bench, count: number): Promise<string[]> {
  const rows = await bench.sql<{ id: string }>(
    'insert into users (id) select gen_random_uuid() from generate_series(1, $1::int) returning id',
    [count],
  );
  const users = rows.map(({ id }) => id);
  await bench.sql(
    `insert into lora_adapters (user_id, weights, size_bytes)
     select id, weights, octet_length(weights) from unnest($1::uuid[], $2::bytea[]) as r (id, weights)`,
    [users, users.map((id, seed) => encodeAdapter(smallAdapter(id, seed)))],
  );
  return users;
}

/** Holds every load back until it is released: nobody reads a head meanwhile. */
export async function holdHeads(url: string): Promise<{ release(): Promise<void> }> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query('begin');
  await client.query('lock table lora_adapter_heads in access exclusive mode');
  return {
    async release() {
      await client.query('commit');
      await client.end();
    },
  };
}

/** How many sessions of this package wait for a lock. */
export async function waitingSessions(bench: Bench): Promise<number> {
  const rows = await bench.sql(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return rows.length;
}
