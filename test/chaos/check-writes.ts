/** What the checker asks of writes: that what was acknowledged is there, and that what is there was asked for. */
import type { Violation } from './checker.js';
import type { BodyChange, HeadState, History, Write } from './history.js';
import { CLOCK_MS, type KeyTimeline } from './timeline.js';

/** A head tells the truth about the bodies, and never goes back or says two things by one revision. */
export function judgeHeads({ heads }: History): Violation[] {
  const violations: Violation[] = [];
  const before = new Map<number, HeadState>();
  for (const state of heads) {
    const { key, revision, version, trueVersion } = state;
    const say = (kind: Violation['kind'], what: string) => violations.push({ kind, key, what, evidence: state });
    if (version !== trueVersion) say('false head', `says ${version} where ${trueVersion} is the latest`);
    const last = before.get(key);
    before.set(key, state);
    if (last === undefined || last.xid === state.xid) continue;
    const same = revision === last.revision && version === last.version && state.write === last.write;
    if (revision <= last.revision && !same) say('revision reuse', `revision ${revision} after ${last.revision}`);
  }
  return violations;
}

/** Versions are given once, deletions were asked for, and the table is what the changes add up to. */
export function judgeBodies(history: History): Violation[] {
  const violations: Violation[] = [];
  const highest = new Map<number, number>();
  const expected = new Map<string, BodyChange>();
  const deletions = history.writes.filter(({ kind, outcome }) => /delete/i.test(kind) && outcome !== 'refused');
  for (const change of history.bodies) {
    const { key, version } = change;
    const say = (kind: Violation['kind'], what: string) => violations.push({ kind, key, what, evidence: change });
    const given = highest.get(key) ?? 0;
    if (change.change === 'insert') {
      // A stranger's MAX + 1 may take the number of a deleted version again; the package may not.
      if (version <= given && change.by.startsWith('node-')) say('version reuse', `version ${version} again`);
      highest.set(key, Math.max(given, version));
    }
    if (change.change === 'delete') {
      expected.delete(`${key} ${version}`);
      if (!deletions.some((write) => explains(write, change)))
        say('lost save', `version ${version} was removed by nobody's wish`);
    } else expected.set(`${key} ${version}`, change);
  }
  for (const row of history.rows) {
    const place = `${row.key} ${row.version}`;
    const change = expected.get(place);
    expected.delete(place);
    if (change === undefined)
      violations.push({ kind: 'resurrected delete', key: row.key, what: 'a row that was deleted', evidence: row });
    else if (change.write !== row.write)
      violations.push({ kind: 'wrong bytes', key: row.key, what: 'a row of another write', evidence: [change, row] });
  }
  for (const change of expected.values())
    violations.push({ kind: 'lost save', key: change.key, what: 'a row is missing at the end', evidence: change });
  return violations;
}

function explains(write: Write, change: BodyChange): boolean {
  if (write.key !== change.key || change.by !== write.by) return false;
  if (change.at < write.begin - CLOCK_MS) return false;
  if (write.outcome !== 'unknown' && change.at > write.end + CLOCK_MS) return false;
  return write.version === undefined || write.version === change.version;
}

/** What was acknowledged is in the ledger, what was refused is not, and a condition that was accepted held. */
export function judgeSaves(history: History, lines: readonly KeyTimeline[]): Violation[] {
  const violations: Violation[] = [];
  const committed = new Set(history.bodies.map(({ key, version, write }) => `${key} ${version} ${write}`));
  const writes = new Set(history.bodies.map(({ write }) => write));
  for (const write of history.writes) {
    const { key, kind, outcome, version } = write;
    const say = (violation: Violation['kind'], what: string) =>
      violations.push({ kind: violation, key, what: `${write.by}: ${what}`, evidence: write });
    if (write.write !== undefined && outcome === 'refused' && writes.has(write.write))
      say('refused save committed', `write ${write.write} is there`);
    if (outcome !== 'done') continue;
    if (write.write !== undefined && !committed.has(`${key} ${version} ${write.write}`))
      say('lost save', `version ${version}, write ${write.write} was never committed`);
    else if (kind === 'save' || kind === 'rollback') {
      const line = lines[key] as KeyTimeline;
      const revision = line.revisionOf(write);
      if (revision === undefined) say('lost save', `version ${version} never was the latest`);
      else if (write.expectedVersion !== undefined) {
        const before = line.states.findLast((state) => state.revision < revision)?.version ?? 0;
        if (before !== write.expectedVersion)
          say('lost update', `expected ${write.expectedVersion} and replaced ${before}`);
      }
    }
  }
  return violations;
}
