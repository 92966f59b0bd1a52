/** Four nodes in processes of their own, each behind three proxies: its pool, its ear and its Redis. No two are alike. */
import { within } from '../../src/deadline.js';
import type { LoRAStorageOptions } from '../../src/options.js';
import { type Child, startChild } from '../support/processes.js';
import { type FaultProxy, startProxy } from '../support/proxy.js';
import { waitFor } from '../support/wait.js';
import { pick, type Random } from './random.js';

export const links = ['postgres', 'ear', 'redis'] as const;
export type LinkName = (typeof links)[number];

/** Small, so that leases end and reconnects happen often within a minute. */
export const budgets = {
  maxStalenessMs: 1000,
  staleIfErrorMs: 4000,
  redisTimeoutMs: 150,
  postgresTimeoutMs: 2000,
} as const;

/** Beyond every budget of the package, on a busy machine: whoever takes longer to open hangs. */
const OPEN_MS = 60_000;

const SMALL = { memory: { maxBytes: 2500 } };

/** What the nodes are, each with what it must do without. The last two differ by seed. */
function kinds(random: Random): { readonly name: string; readonly options: LoRAStorageOptions }[] {
  const third = pick(random, [
    { name: 'no change feed', options: { changeFeed: false } },
    { name: 'no change feed, small memory', options: { changeFeed: false, ...SMALL } },
  ]);
  const fourth = pick(random, [
    { name: 'no Redis, small memory', options: { redis: false as const, ...SMALL } },
    { name: 'no memory', options: { memory: false as const } },
    { name: 'small memory', options: SMALL },
  ]);
  return [{ name: 'all tiers', options: {} }, { name: 'small memory', options: SMALL }, third, fourth];
}

export class ChaosNode {
  readonly index: number;
  readonly name: string;
  readonly proxies: Readonly<Record<LinkName, FaultProxy>>;
  readonly #settings: (by: string) => string;
  #lives = 0;
  #child: Child | undefined;

  constructor(
    index: number,
    name: string,
    proxies: Readonly<Record<LinkName, FaultProxy>>,
    settings: (by: string) => string,
  ) {
    this.index = index;
    this.name = name;
    this.proxies = proxies;
    this.#settings = settings;
  }

  /** Of this life: what it knew ends with its process. Also the name of its sessions in Postgres. */
  get by(): string {
    return `node-${this.index}.${this.#lives}`;
  }

  get child(): Child | undefined {
    return this.#child;
  }

  /** Tries until it opens: Postgres may be away just now. */
  async start(): Promise<void> {
    this.#lives++;
    const module = new URL('./node.mjs', import.meta.url);
    const open = async () => {
      const child = startChild(module, { CHAOS_NODE: this.#settings(this.by) });
      this.#child = await within(child, OPEN_MS, `${this.by}, which opens`);
      return true;
    };
    await waitFor(open, { timeoutMs: 90_000, intervalMs: 100, what: `${this.by} to open` });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    await child?.kill();
  }
}

export interface Cluster {
  readonly nodes: readonly ChaosNode[];
  stop(): Promise<void>;
}

export async function startCluster(
  urls: { postgres: string; redis: string },
  random: Random,
  broken: string | undefined,
): Promise<Cluster> {
  const portOf = (url: string) => Number(new URL(url).port);
  const nodes: ChaosNode[] = [];
  for (const [index, { name, options }] of kinds(random).entries()) {
    const proxies = {
      postgres: await startProxy(portOf(urls.postgres)),
      ear: await startProxy(portOf(urls.postgres)),
      redis: await startProxy(portOf(urls.redis)),
    };
    const settings = (by: string) => {
      const named = (proxy: FaultProxy) => `${proxy.url(urls.postgres)}?application_name=${by}`;
      const postgres = { primary: named(proxies.postgres), direct: named(proxies.ear) };
      const storage = { ...budgets, postgres, redis: proxies.redis.url(urls.redis), namespace: 'chaos', ...options };
      return JSON.stringify({ storage, broken, directUrl: urls.postgres });
    };
    nodes.push(new ChaosNode(index, name, proxies, settings));
  }
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.kill()));
    await Promise.all(nodes.flatMap(({ proxies }) => links.map((link) => proxies[link].close())));
  };
  try {
    await Promise.all(nodes.map((node) => node.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, stop };
}
