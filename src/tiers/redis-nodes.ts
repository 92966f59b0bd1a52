/**
 * Who is asked for a key. One server, or the master of its slot in a cluster: each has a breaker of its own, so that one
 * that is silent costs its own keys a budget, and those of the others nothing. For the caller they are one tier, degraded
 * from the first that is in trouble to the last that recovers.
 */

import type { Cluster, Redis } from 'ioredis';
import { slotOf } from '../coherence/slot.js';
import type { BreakerState, OutageEvents } from './breaker.js';
import { type Failures, RedisCalls } from './redis-calls.js';

/** Keys that one server answers. */
export interface Share {
  readonly calls: RedisCalls;
  /** Which of those that were asked for. */
  readonly at: readonly number[];
  /** Whether one pipeline may ask for them all: not before the slots are known. */
  readonly together: boolean;
}

/** Of a single server, and of keys whose slot nobody is known to own. */
export const ANYBODY = '';

/** Of a cluster's node, as its table of slots has it. */
export function nameOf({ options }: Redis): string {
  return `${options.host}:${options.port}`;
}

export class RedisNodes implements Failures {
  readonly #client: Redis | Cluster;
  readonly #timeoutMs: number;
  readonly #events: OutageEvents;
  readonly #calls = new Map<string, RedisCalls>();
  readonly #inTrouble = new Set<string>();
  #troubleSince = 0;

  /** Calls that failed, and among them those whose time ran out. */
  errors = 0;
  timeouts = 0;

  constructor(client: Redis | Cluster, timeoutMs: number, events: OutageEvents) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#events = events;
    // The slots were asked for anew.
    if ('nodes' in client) client.on('refresh', () => this.#forgetOthers(client));
  }

  /** Of a cluster, that of the master which is worst off. */
  get breaker(): BreakerState {
    const states = [...this.#calls.values()].map(({ breaker }) => breaker);
    return states.find((state) => state === 'open') ?? states.find((state) => state === 'half-open') ?? 'closed';
  }

  /** Of calls that begin now. */
  deadline(): number {
    return performance.now() + this.#timeoutMs;
  }

  /** Calls about this key. */
  of(name: string): RedisCalls {
    return this.to(this.#ownerOf(name));
  }

  /** Calls to this server: 'host:port' in a cluster. */
  to(owner: string): RedisCalls {
    let calls = this.#calls.get(owner);
    if (calls === undefined) {
      const events = { degraded: (cause: Error) => this.#fell(owner, cause), recovered: () => this.#rose(owner) };
      calls = new RedisCalls(this.#timeoutMs, events, this);
      this.#calls.set(owner, calls);
    }
    return calls;
  }

  /** These names by who answers them. */
  share(names: readonly string[]): Share[] {
    const shares = new Map<string, number[]>();
    for (const [i, name] of names.entries()) {
      const owner = this.#ownerOf(name);
      const share = shares.get(owner);
      if (share === undefined) shares.set(owner, [i]);
      else share.push(i);
    }
    const single = !('nodes' in this.#client);
    return [...shares].map(([owner, at]) => ({
      calls: this.to(owner),
      at,
      together: single || owner !== ANYBODY,
    }));
  }

  /** Rejects where one of those that own keys does not answer. */
  async ping(): Promise<void> {
    const client = this.#client;
    const owners = 'nodes' in client ? client.nodes('master').filter((node) => this.#owns(client, node)) : [];
    if (owners.length === 0) return await this.to(ANYBODY).ping(() => client.ping());
    await Promise.all(owners.map((node) => this.to(nameOf(node)).ping(() => node.ping())));
  }

  count(timedOut: boolean): void {
    this.errors++;
    if (!timedOut) return;
    this.timeouts++;
    // A master that is silent does not say that another has taken over its slots; the others do.
    if ('nodes' in this.#client && this.#client.status === 'ready') this.#client.refreshSlotsCache();
  }

  #ownerOf(name: string): string {
    if (!('nodes' in this.#client)) return ANYBODY;
    const { slots, options } = this.#client;
    return slots[slotOf(`${options.keyPrefix ?? ''}${name}`)]?.[0] ?? ANYBODY;
  }

  #owns({ slots }: Cluster, node: Redis): boolean {
    const name = nameOf(node);
    return slots.some((keys) => keys?.[0] === name);
  }

  /** Those that own nothing any more: nobody will find out whether they are well again. */
  #forgetOthers({ slots }: Cluster): void {
    const owners = new Set(slots.map((keys) => keys?.[0]));
    for (const owner of this.#calls.keys()) {
      if (owners.has(owner)) continue;
      this.#calls.delete(owner);
      this.#rose(owner);
    }
  }

  #fell(owner: string, cause: Error): void {
    if (this.#inTrouble.size === 0) {
      this.#troubleSince = performance.now();
      this.#events.degraded(cause);
    }
    this.#inTrouble.add(owner);
  }

  #rose(owner: string): void {
    if (this.#inTrouble.delete(owner) && this.#inTrouble.size === 0)
      this.#events.recovered(performance.now() - this.#troubleSince);
  }
}
