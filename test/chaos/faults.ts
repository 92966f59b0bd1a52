/**
 * What goes wrong: a shuffled deck of faults, dealt one after the other, several in force at once, never two on the same
 * target. Each is undone by itself. When the deck is empty it is shuffled again, so that none is left out.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { OwnServer } from '../support/servers/server.js';
import { waitFor } from '../support/wait.js';
import { type ChaosNode, type Cluster, type LinkName, links } from './cluster.js';
import { type History, now } from './history.js';
import { between, pick, type Random, shuffled } from './random.js';

export interface Servers {
  readonly postgres: OwnServer;
  readonly redis: OwnServer;
}

/** How often each is in the deck. */
const deck = {
  cut: 3,
  mute: 3,
  'half-open': 3,
  delay: 3,
  'stop a node': 3,
  'kill a node': 2,
  'kill Postgres': 1,
  'kill Redis, comes back empty': 1,
  'kill Redis, comes back old': 2,
  'kill Redis, comes back as it was': 1,
  'flush Redis': 1,
  'dump Redis': 2,
} as const;
export type FaultKind = keyof typeof deck;
export const faultKinds = Object.keys(deck) as FaultKind[];

export class Faults {
  readonly #cluster: Cluster;
  readonly #servers: Servers;
  readonly #random: Random;
  readonly #history: History;
  readonly #busy = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  #failed: unknown;

  constructor(cluster: Cluster, servers: Servers, random: Random, history: History) {
    this.#cluster = cluster;
    this.#servers = servers;
    this.#random = random;
    this.#history = history;
  }

  /** Deals faults until `until`, and resolves when the last is undone. */
  async run(until: number): Promise<void> {
    let cards: FaultKind[] = [];
    while (now() < until) {
      if (cards.length === 0)
        cards = shuffled(
          this.#random,
          faultKinds.flatMap((kind) => Array<FaultKind>(deck[kind]).fill(kind)),
        );
      const card = cards.pop() as FaultKind;
      if (!this.#deal(card)) cards.unshift(card);
      await sleep(between(this.#random, 300, 1300));
      if (this.#failed !== undefined) throw this.#failed;
    }
    await Promise.all(this.#running);
    if (this.#failed !== undefined) throw this.#failed;
  }

  /** False: its target is busy with another one. */
  #deal(kind: FaultKind): boolean {
    const node = pick(this.#random, this.#cluster.nodes);
    const link = pick(this.#random, links);
    const ms = between(this.#random, 200, 3000);
    switch (kind) {
      case 'cut':
      case 'mute':
      case 'half-open':
      case 'delay':
        return this.#on(kind, `node-${node.index} ${link}`, () => this.#linkFault(kind, node, link, ms));
      case 'stop a node':
        return this.#on(kind, `node-${node.index}`, async () => {
          node.child?.signal('SIGSTOP');
          await sleep(ms);
          node.child?.signal('SIGCONT');
        });
      case 'kill a node':
        return this.#on(kind, `node-${node.index}`, async () => {
          await node.kill();
          await sleep(ms / 4);
          await node.start();
        });
      case 'kill Postgres':
        return this.#on(kind, 'Postgres', () => restart(this.#servers.postgres, ms / 4));
      default:
        return this.#on(kind, 'Redis', () => this.#redisFault(kind, ms));
    }
  }

  async #linkFault(kind: FaultKind, node: ChaosNode, link: LinkName, ms: number): Promise<void> {
    const proxy = node.proxies[link];
    if (kind === 'cut') proxy.cut();
    else if (kind === 'mute') proxy.mute('answers');
    else if (kind === 'half-open') proxy.mute('both');
    else proxy.delay(between(this.#random, 20, 600));
    await sleep(ms);
    proxy.heal();
  }

  async #redisFault(kind: FaultKind, ms: number): Promise<void> {
    const { redis } = this.#servers;
    const client = new Redis(redis.url, { maxRetriesPerRequest: 1 });
    client.on('error', () => undefined);
    try {
      if (kind.endsWith('empty') || kind === 'flush Redis') await client.flushall();
      // What was dumped last is what a killed Redis comes back with.
      if (kind.endsWith('empty') || kind.endsWith('as it was') || kind === 'dump Redis') await client.save();
    } finally {
      client.disconnect();
    }
    if (kind.startsWith('kill')) await restart(redis, ms / 4);
  }

  #on(kind: FaultKind, target: string, inflict: () => Promise<void>): boolean {
    if (this.#busy.has(target)) return false;
    this.#busy.add(target);
    const begin = now();
    const work = inflict()
      .then(() => void this.#history.faults.push({ kind, target, begin, end: now() }))
      .catch((error) => {
        this.#failed = error;
      })
      .finally(() => {
        this.#busy.delete(target);
        this.#running.delete(work);
      });
    this.#running.add(work);
    return true;
  }
}

/** SIGKILL, a pause, and up again. What a killed Postgres left of its sessions may hold its memory for a moment. */
async function restart(server: OwnServer, pauseMs: number): Promise<void> {
  await server.kill();
  await sleep(pauseMs);
  const up = () => server.restart().then(() => true);
  await waitFor(up, { timeoutMs: 60_000, intervalMs: 200, what: 'a killed server to come up again' });
}
