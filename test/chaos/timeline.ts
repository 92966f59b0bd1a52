/**
 * One key in the order of its revisions: the states that were committed, and from when on each was known to be
 * superseded. A write whose answer was lost supersedes nothing by itself; whoever hears of a later one does it for it.
 */
import type { HeadState, History, Read, Write } from './history.js';

/** How far the ledger's clock and that of the stamps may be apart, in ms. */
export const CLOCK_MS = 1;

interface Known {
  readonly revision: number;
  readonly at: number;
}

export class KeyTimeline {
  /** By revision; each as its transaction left it. */
  readonly states: readonly HeadState[];
  readonly #writes: readonly Write[];
  readonly #byRevision: ReadonlyMap<number, HeadState>;
  /** 0: those in which there is none. */
  readonly #byWrite = new Map<number, HeadState[]>();
  readonly #known: readonly Known[];
  readonly #ownKnown: ReadonlyMap<string, readonly Known[]>;

  constructor(states: readonly HeadState[], writes: readonly Write[]) {
    this.states = states;
    this.#writes = [...writes].sort((a, b) => a.begin - b.begin);
    this.#byRevision = new Map(states.map((state) => [state.revision, state]));
    for (const state of states) {
      const same = this.#byWrite.get(state.write);
      if (same) same.push(state);
      else this.#byWrite.set(state.write, [state]);
    }
    const known: (Known & { by: string })[] = [];
    for (const write of writes) {
      const revision = write.outcome === 'done' ? this.revisionOf(write) : undefined;
      if (revision !== undefined) known.push({ revision, at: write.end, by: write.by });
    }
    this.#known = suffixMinima(known);
    const nodes = [...new Set(known.map(({ by }) => by))];
    this.#ownKnown = new Map(nodes.map((node) => [node, suffixMinima(known.filter(({ by }) => by === node))]));
  }

  /** The revision that an acknowledged write became; undefined where it changed no head. */
  revisionOf(write: Write): number | undefined {
    if (write.revision !== undefined) return write.revision;
    // A node has one write of a key under way: what it logged between the two stamps, and before its next, is this one.
    const next = this.#writes.find(({ by, begin }) => by === write.by && begin > write.begin)?.begin;
    const before = Math.min(write.end + CLOCK_MS, next ?? Number.POSITIVE_INFINITY);
    const during = (state: HeadState) =>
      state.by === write.by && state.at >= write.begin - CLOCK_MS && state.at <= before;
    const match = this.states.find((state) => {
      if (write.kind === 'save') return state.version === write.version && state.write === write.write;
      if (!during(state)) return false;
      if (write.kind === 'rollback') return state.version === write.version;
      return write.kind === 'delete' ? state.version === 0 : state.version < (write.version ?? 0);
    });
    return match?.revision;
  }

  /** When some revision above this one was first known to be committed; by: to one node, by its own writes. */
  supersededAt(revision: number, by?: string): number {
    const known = by === undefined ? this.#known : (this.#ownKnown.get(by) ?? []);
    let low = 0;
    let high = known.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((known[middle] as Known).revision > revision) high = middle;
      else low = middle + 1;
    }
    return known[low]?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Whether a deletion above `revision` was known by then. */
  deletedAfter(revision: number, by: number): boolean {
    return this.states.some((state) => state.revision > revision && state.version === 0 && state.at < by);
  }

  /** Revisions that would answer as this read did, in order; 0: before anything was saved. */
  mayHaveSeen(read: Read): number[] {
    if (read.revision !== undefined) {
      const state = this.#byRevision.get(read.revision);
      const same = state !== undefined && state.version === read.version && state.write === read.body?.write;
      return same ? [read.revision] : [];
    }
    const write = read.body?.write ?? 0;
    const seen = (this.#byWrite.get(write) ?? []).filter((state) => state.at <= read.end + CLOCK_MS);
    const revisions = seen.map(({ revision }) => revision);
    return read.body === undefined ? [0, ...revisions] : revisions;
  }
}

export function timelines({ keys, heads, writes }: History): KeyTimeline[] {
  const states = keys.map((): HeadState[] => []);
  const written = keys.map((): Write[] => []);
  for (const write of writes) written[write.key]?.push(write);
  for (const state of heads) {
    const line = states[state.key] as HeadState[];
    // A transaction may touch a head twice; what counts is how it left it.
    if (line.at(-1)?.xid === state.xid) line.pop();
    line.push(state);
  }
  return states.map((line, key) => new KeyTimeline(changes(line), written[key] as Write[]));
}

/** Without those that only wrote a head again. */
function changes(line: readonly HeadState[]): HeadState[] {
  const first = line.filter((state, i) => state.revision !== line[i - 1]?.revision);
  return first.sort((a, b) => a.revision - b.revision);
}

/** In the order of revisions, each with the earliest `at` of itself and all above. */
function suffixMinima(known: readonly Known[]): Known[] {
  const sorted = [...known].sort((a, b) => a.revision - b.revision);
  let earliest = Number.POSITIVE_INFINITY;
  for (let i = sorted.length - 1; i >= 0; i--) {
    const { revision, at } = sorted[i] as Known;
    earliest = Math.min(earliest, at);
    sorted[i] = { revision, at: earliest };
  }
  return sorted;
}
