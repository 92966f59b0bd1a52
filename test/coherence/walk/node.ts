/** A node of the walk: the product's decisions over the plain state of one node, with a memory of one slot. */
import { Changes, type Unconfirmed, type Via, type Written } from '../../../src/coherence/changes.js';
import type { Coherence } from '../../../src/coherence/head.js';
import { type Held, LoadSteps } from '../../../src/coherence/load.js';
import { supersedes } from '../../../src/tiers/memory.js';
import type { Rules } from './rules.js';
import { type Body, change, type Flight, KEY, LEASE, type Node, type World } from './world.js';

/** What MemoryTier does, for one key and without a bound: the contract suite holds them to each other. */
export class OneSlot implements Held<Body> {
  readonly #node: { memory: Body | undefined };

  constructor(node: { memory: Body | undefined }) {
    this.#node = node;
  }

  get(): Body | undefined {
    return this.#node.memory;
  }

  put(_: unknown, entry: Body): void {
    const held = this.#node.memory;
    if (held === undefined || supersedes(entry, held)) this.#node.memory = entry;
  }

  dropBelow(_: unknown, revision: number): boolean {
    if (this.#node.memory !== undefined && this.#node.memory.revision < revision) this.#node.memory = undefined;
    return this.#node.memory !== undefined;
  }

  unverify(): void {
    if (this.#node.memory !== undefined) this.#node.memory = { ...this.#node.memory, server: 0 };
  }
}

/** One node for the length of one step: its copy in `world` may be changed. */
export class Actor {
  readonly node: Node;
  readonly coherence: Coherence;
  readonly #memory: OneSlot;
  readonly #world: World;
  readonly #rules: Rules;

  constructor(world: World, i: 0 | 1, rules: Rules) {
    this.node = change(world, i);
    this.node.now++;
    this.coherence = rules.coherence(this.node.known);
    this.#memory = new OneSlot(this.node);
    this.#world = world;
    this.#rules = rules;
  }

  steps(flight: Flight): LoadSteps<Body, string> {
    return new LoadSteps(KEY, this.coherence, this.#memory, { ...this.#rules, maxStalenessMs: LEASE }, flight.state);
  }

  /** Later loads start anew: what is under way began before something they must see. */
  detach(): void {
    for (const flight of this.node.flights) flight.detached = true;
  }

  heard(revision: number, via: Via, settled?: boolean): void {
    const { node } = this;
    const news = this.changes((changes) => changes.heard(KEY, revision, via, node.now, settled));
    node.heard = Math.max(node.heard, revision);
    if (news === undefined) return;
    if (via !== 'self' && this.#world.told >= 0) this.#world.told = Math.max(this.#world.told, revision);
    this.detach();
  }

  changes<T>(event: (changes: Changes<Body>) => T): T {
    const { node } = this;
    const unconfirmed: Unconfirmed = new Map();
    if (node.unconfirmed > 0) unconfirmed.set(KEY.id, { key: KEY, revision: node.unconfirmed });
    const written: Written = new Map(node.written > 0 ? [[KEY.id, node.written]] : []);
    const result = event(new Changes(this.coherence, this.#memory, unconfirmed, written));
    node.unconfirmed = unconfirmed.get(KEY.id)?.revision ?? 0;
    node.written = written.get(KEY.id) ?? 0;
    return result;
  }
}
