/**
 * Judges a history. Pure: the same history, the same verdict. What was committed and in which order it takes from the
 * database's ledger; when it was known to be committed, from the stamps of whoever was told so; and then asks of every
 * read whether any state it may have seen was still allowed.
 */
import { tag } from './bodies.mjs';
import { judgeBodies, judgeHeads, judgeSaves } from './check-writes.js';
import type { History, Read } from './history.js';
import { type KeyTimeline, timelines } from './timeline.js';

export const violationKinds = [
  'lost save',
  'refused save committed',
  'lost update',
  'version reuse',
  'revision reuse',
  'false head',
  'stale read',
  'own write not read',
  'non-monotonic read',
  'resurrected delete',
  'cross-user read',
  'wrong bytes',
  'not recovered',
  'unexpected error',
] as const;
export type ViolationKind = (typeof violationKinds)[number];

export interface Violation {
  readonly kind: ViolationKind;
  readonly key: number;
  readonly what: string;
  /** The read, write or row that shows it. */
  readonly evidence: unknown;
}

export interface Bounds {
  readonly maxStalenessMs: number;
  readonly staleIfErrorMs: number;
  readonly slackMs: number;
}

export interface Verdict {
  readonly violations: readonly Violation[];
  /** Longest time that a read began after the end of a write which it does not show. */
  readonly worstStalenessMs: number;
  /** The same of reads that said they were unverified. */
  readonly worstFlaggedMs: number;
}

/** What a call may answer when servers are away, or when it was refused with reason. */
const EXPECTED = new Set([
  'STORAGE_UNAVAILABLE',
  'STORAGE_OVERLOADED',
  'SAVE_OUTCOME_UNKNOWN',
  'VERSION_CONFLICT',
  'ADAPTER_NOT_FOUND',
  'NODE_ENDED',
]);

export function check(history: History, bounds: Bounds): Verdict {
  const lines = timelines(history);
  const violations: Violation[] = [
    ...judgeErrors(history),
    ...judgeHeads(history),
    ...judgeBodies(history),
    ...judgeSaves(history, lines),
  ];
  const worst = { unflagged: 0, flagged: 0 };
  for (const reads of groups(history.reads, (read) => `${read.by} ${read.key}`)) {
    const line = lines[(reads[0] as Read).key] as KeyTimeline;
    violations.push(...judgeReads(history, reads, line, bounds, worst));
  }
  return { violations, worstStalenessMs: worst.unflagged, worstFlaggedMs: worst.flagged };
}

function judgeErrors({ failures }: History): Violation[] {
  return failures.flatMap((failure): Violation[] => {
    const { key, error } = failure;
    if (error === 'ADAPTER_CORRUPT')
      return [{ kind: 'wrong bytes', key, what: 'an adapter was refused as corrupt', evidence: failure }];
    if (!EXPECTED.has(error)) return [{ kind: 'unexpected error', key, what: failure.message, evidence: failure }];
    if (failure.final)
      return [{ kind: 'not recovered', key, what: `${failure.by} still answers ${error}`, evidence: failure }];
    return [];
  });
}

/** The reads of one key by one node, in the order in which they began. */
function judgeReads(
  history: History,
  unordered: readonly Read[],
  line: KeyTimeline,
  bounds: Bounds,
  worst: { unflagged: number; flagged: number },
): Violation[] {
  const violations: Violation[] = [];
  const reads = [...unordered].sort((a, b) => a.begin - b.begin);
  const ended = [...reads].sort((a, b) => a.end - b.end);
  const seen = new Map<Read, number>();
  let newest = 0;
  let next = 0;
  for (const read of reads) {
    for (; (ended[next]?.end ?? Number.POSITIVE_INFINITY) < read.begin; next++)
      newest = Math.max(newest, seen.get(ended[next] as Read) ?? 0);
    const say = (kind: ViolationKind, what: string) =>
      violations.push({ kind, key: read.key, what: `${read.by}: ${what}`, evidence: read });

    const bytes = wrongBytes(history, read);
    if (bytes !== undefined) {
      say(...bytes);
      continue;
    }
    const possible = line.mayHaveSeen(read);
    const latest = possible.at(-1);
    if (latest === undefined) {
      say('wrong bytes', 'what was read was never committed');
      continue;
    }
    const staleness = (revision: number) => read.begin - line.supersededAt(revision);
    const kind = read.stale ? 'flagged' : 'unflagged';
    worst[kind] = Math.max(worst[kind], staleness(latest));
    const bound = bounds.maxStalenessMs + (read.stale ? bounds.staleIfErrorMs : 0) + bounds.slackMs;
    const fresh = possible.filter((revision) => staleness(revision) <= bound);
    const own = fresh.filter((revision) => read.begin <= line.supersededAt(revision, read.by));
    // One that is flagged may go back: it says itself that it is not known to be the latest.
    const allowed = read.stale ? own : own.filter((revision) => revision >= newest);
    if (fresh.length === 0) {
      const late = `revision ${latest}, ${Math.round(staleness(latest))} ms after it was superseded`;
      say(read.body && line.deletedAfter(latest, read.begin) ? 'resurrected delete' : 'stale read', late);
    } else if (own.length === 0) say('own write not read', `revision ${latest} after a newer write of its own`);
    else if (allowed.length === 0) say('non-monotonic read', `revision ${latest} after revision ${newest}`);
    else seen.set(read, allowed[0] as number);
  }
  return violations;
}

function wrongBytes(history: History, { body, key }: Read): [ViolationKind, string] | undefined {
  if (body === undefined) return undefined;
  const { userId, name } = history.keys[key] as History['keys'][number];
  if (!body.exact) return ['wrong bytes', `not what write ${body.write} put there`];
  if (body.userTag !== tag(userId)) return ['cross-user read', `write ${body.write} is another user's`];
  if (body.nameTag !== tag(name)) return ['wrong bytes', `write ${body.write} is of another name`];
  return undefined;
}

function groups<T>(items: readonly T[], by: (item: T) => string): T[][] {
  const result = new Map<string, T[]>();
  for (const item of items) {
    const group = result.get(by(item));
    if (group) group.push(item);
    else result.set(by(item), [item]);
  }
  return [...result.values()];
}
