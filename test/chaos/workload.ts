/** What callers do: random reads and writes on every node and by strangers, each written down as it was answered. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Body } from './bodies.mjs';
import type { ChaosNode, Cluster } from './cluster.js';
import type { ForeignWriters } from './foreign.js';
import { type ForeignKind, type History, now, type ReadKind, type WriteKind } from './history.js';
import { between, pick, type Random, weighted } from './random.js';

interface Found {
  absent?: boolean;
  body?: Body;
  version?: number;
  revision?: number;
}

interface Answer {
  begin: number;
  end: number;
  stale: boolean;
  found?: Found[];
  version?: number;
  changed?: number;
  error?: string;
  message?: string;
}

const reads: Record<ReadKind, number> = { load: 70, loadMany: 8, peek: 8 };
const writes: Record<WriteKind, number> = { save: 9, delete: 1, deleteVersion: 2, rollback: 2 };
const strange: Record<ForeignKind, number> = {
  'foreign insert': 5,
  'foreign update': 3,
  'foreign delete': 1,
  'foreign deleteVersion': 2,
};

/** Errors by which a write promises that nothing was changed. A deletion may have been sent twice, and promises nothing. */
const REFUSED = new Set(['VERSION_CONFLICT', 'STORAGE_UNAVAILABLE', 'STORAGE_OVERLOADED', 'ADAPTER_NOT_FOUND']);

export class Workload {
  readonly #history: History;
  /** The version of each key that was heard of last. */
  readonly #versions: number[];
  readonly #writing = new Set<string>();
  #lastWrite = 0;

  constructor(history: History) {
    this.#history = history;
    this.#versions = history.keys.map(() => 0);
  }

  /** One caller of one node, until `until`. */
  async call(node: ChaosNode, random: Random, until: number): Promise<void> {
    while (now() < until) {
      if (node.child === undefined) await sleep(50);
      else await this.#once(node, random);
      await sleep(between(random, 0, 20));
    }
  }

  /** One stranger, until `until`. */
  async strangers(foreign: ForeignWriters, random: Random, until: number): Promise<void> {
    const { keys, writes: written } = this.#history;
    while (now() < until) {
      const kind = weighted(random, strange);
      const key = this.#key(random);
      const isolation = pick(random, ['read committed', 'repeatable read']);
      const of = keys[key] as History['keys'][number];
      const write = await foreign.write(kind, key, of, ++this.#lastWrite, isolation);
      written.push(write);
      if (kind === 'foreign insert' && write.version !== undefined) this.#versions[key] = write.version;
      await sleep(between(random, 20, 250));
    }
  }

  /** Every key at every node, when all is healed: the last word must be the truth, and it must be given. */
  async lastWord(cluster: Cluster, patienceMs: number): Promise<void> {
    const until = now() + patienceMs;
    for (const node of cluster.nodes) {
      for (const key of this.#history.keys.keys()) {
        while (!(await this.#read(node, 'load', [key], now() > until)) && now() <= until + 1000) await sleep(50);
      }
    }
  }

  async #once(node: ChaosNode, random: Random): Promise<void> {
    const key = this.#key(random);
    const kind = weighted(random, { ...reads, ...writes });
    const place = `${node.by} ${key}`;
    if (kind === 'loadMany') {
      const many = [...this.#history.keys.keys()].filter(() => random() < 0.5);
      await this.#read(node, kind, many);
    } else if (kind === 'load' || kind === 'peek') await this.#read(node, kind, [key]);
    // One write of a key by a node at a time: that is how the checker knows which is which.
    else if (!this.#writing.has(place)) {
      this.#writing.add(place);
      await this.#write(node, kind, key, random).finally(() => this.#writing.delete(place));
    }
  }

  /** Whether it was answered. */
  async #read(node: ChaosNode, kind: ReadKind, keys: readonly number[], final = false): Promise<boolean> {
    const { by } = node;
    const asked = keys.map((key) => this.#history.keys[key]);
    const answer = await ask(node, kind === 'loadMany' ? { kind, keys: asked } : { kind, ...asked[0] });
    const { begin, end, stale, error, message = '' } = answer;
    for (const [i, key] of keys.entries()) {
      if (error !== undefined) this.#history.failures.push({ kind, key, by, begin, end, error, message, final });
      const found = answer.found?.[i];
      if (found === undefined) continue;
      const { body, version, revision } = found;
      this.#history.reads.push({ kind, key, by, begin, end, body, version, revision, stale });
      if (version !== undefined) this.#versions[key] = version;
    }
    return error === undefined;
  }

  async #write(node: ChaosNode, kind: WriteKind, key: number, random: Random): Promise<void> {
    const { by } = node;
    const latest = this.#versions[key] ?? 0;
    const write = kind === 'save' ? ++this.#lastWrite : undefined;
    const expectedVersion = kind === 'save' && random() < 0.4 ? latest : undefined;
    const about =
      kind === 'deleteVersion' || kind === 'rollback' ? Math.max(1, latest - between(random, 0, 2)) : undefined;
    const operation = { kind, ...this.#history.keys[key], write, expectedVersion, version: about };
    const answer = await ask(node, operation);
    const { begin, error, message = '', changed } = answer;
    const deletes = kind === 'delete' || kind === 'deleteVersion';
    const outcome =
      error === undefined
        ? changed === 0
          ? 'nothing'
          : 'done'
        : !deletes && REFUSED.has(error)
          ? 'refused'
          : 'unknown';
    const end = outcome === 'unknown' ? Number.POSITIVE_INFINITY : answer.end;
    const version = kind === 'deleteVersion' ? about : answer.version;
    this.#history.writes.push({ kind, key, by, begin, end, outcome, write, version, expectedVersion });
    if (error !== undefined) this.#history.failures.push({ kind, key, by, begin, end: answer.end, error, message });
    if (answer.version !== undefined) this.#versions[key] = answer.version;
  }

  /** The first keys are hot. */
  #key(random: Random): number {
    return Math.floor(random() ** 2 * this.#history.keys.length);
  }
}

/** Far beyond every budget of the package together: a call that takes longer will never end. */
const NEVER_MS = 45_000;

/** Never rejects: a node that is killed meanwhile has not answered. */
async function ask(node: ChaosNode, operation: object): Promise<Answer> {
  const begin = now();
  const unanswered = (error: string) => ({
    begin,
    end: now(),
    stale: false,
    error,
    message: JSON.stringify(operation),
  });
  const patience = new AbortController();
  try {
    const answer = node.child?.call<Answer>('run', operation);
    const never = sleep(NEVER_MS, unanswered('NEVER_ANSWERED'), { signal: patience.signal });
    never.catch(() => undefined);
    return (await Promise.race([answer, never])) ?? unanswered('NODE_ENDED');
  } catch {
    return unanswered('NODE_ENDED');
  } finally {
    patience.abort();
  }
}
