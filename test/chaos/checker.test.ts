/** The checker alone, on histories written by hand: each kind of violation is seen, and what is allowed is not. */
import { describe, expect, test } from 'vitest';
import { tag } from './bodies.mjs';
import { type Bounds, check, violationKinds } from './checker.js';
import { type BodyChange, emptyHistory, type Failure, type HeadState, type Read, type Write } from './history.js';

const bounds: Bounds = { maxStalenessMs: 1000, staleIfErrorMs: 4000, slackMs: 0 };
const keys = ['alice', 'bob'].map((userId) => ({ userId, name: 'default' }));
const covered = new Set<string>();

/** A history in which writes take 10 ms and are committed in the middle of it. Revisions are given one by one. */
class Story {
  readonly history = emptyHistory(keys);
  #revision = 0;
  #seq = 0;

  /** A save (or a stranger's insert) of `version`, begun at `begin`; its number is 100 + version. */
  save(version: number, begin: number, write: Partial<Write> = {}): this {
    const done: Write = { kind: 'save', key: 0, by: 'node-0.1', begin, end: begin + 10, outcome: 'done', version };
    const number = 100 + version;
    this.history.writes.push({ ...done, write: number, ...write });
    const { key, by } = { ...done, ...write };
    this.head({ key, by, version, write: number, at: begin + 5 });
    this.body({ key, by, version, write: number, at: begin + 5 });
    this.history.rows.push({ key, version, write: number });
    return this;
  }

  /** Deletes version 1, the only one. */
  delete(begin: number, write: Partial<Write> = {}): this {
    const done: Write = { kind: 'delete', key: 0, by: 'node-0.1', begin, end: begin + 10, outcome: 'done', ...write };
    this.history.writes.push(done);
    this.head({ by: done.by, at: begin + 5 });
    this.body({ by: done.by, change: 'delete', at: begin + 5 });
    this.history.rows = [];
    return this;
  }

  /** A write as it was answered, and nothing of it in the ledger. */
  change(write: Pick<Write, 'kind' | 'begin' | 'end' | 'outcome'> & Partial<Write>): this {
    this.history.writes.push({ key: 0, by: 'node-0.1', ...write });
    return this;
  }

  head(state: Partial<HeadState>): this {
    const seq = ++this.#seq;
    const revision = ++this.#revision;
    const base = { seq, key: 0, xid: String(seq), at: 0, by: '', revision, version: 0, write: 0 };
    this.history.heads.push({ trueVersion: state.version ?? 0, ...base, ...state });
    return this;
  }

  body(change: Partial<BodyChange>): this {
    const base = { seq: ++this.#seq, key: 0, at: 0, by: '', change: 'insert' as const, version: 1, write: 101 };
    this.history.bodies.push({ ...base, ...change });
    return this;
  }

  /** A load at `begin` that answers `version` (0: absent) as of `revision`. */
  read(begin: number, version: number, revision = version, read: Partial<Read> = {}): this {
    const body = { write: 100 + version, userTag: tag('alice'), nameTag: tag('default'), exact: true };
    const found = version === 0 ? { body: undefined } : { body, version, revision };
    const base = { kind: 'load', key: 0, by: 'node-1.1', begin, end: begin + 1, stale: false } as const;
    this.history.reads.push({ ...base, ...found, ...read });
    return this;
  }

  fail(failure: Partial<Failure>): this {
    const base = { kind: 'load', key: 0, by: 'node-1.1', begin: 0, end: 1, error: 'STORAGE_UNAVAILABLE', message: '' };
    this.history.failures.push({ ...base, ...failure });
    return this;
  }

  get kinds(): string[] {
    const kinds = check(this.history, bounds).violations.map(({ kind }) => kind);
    for (const kind of kinds) covered.add(kind);
    return kinds;
  }
}

const story = () => new Story();
const twice = () => story().save(1, 0).save(2, 100);
const never = { outcome: 'unknown', end: Number.POSITIVE_INFINITY } as const;

describe('what is allowed', () => {
  test.each<[string, Story]>([
    ['nothing at all', story()],
    ['the latest', twice().read(5000, 2)],
    ['the one before, within the bound', twice().read(1100, 1)],
    ['the one before, when it was read before the next was acknowledged', twice().read(105, 1, 1, { end: 9000 })],
    ['one beyond the bound that says so', twice().read(5000, 1, 1, { stale: true })],
    ['absence before the first save', story().read(0, 0).save(1, 100)],
    ['absence after a deletion', story().save(1, 0).delete(100).read(5000, 0)],
    ['the one before a save of which nobody knows, for ever', story().save(1, 0).save(2, 100, never).read(9000, 1)],
    ['the save of which nobody knows', story().save(1, 0).save(2, 100, never).read(9000, 2)],
    ['an older one in a later life of the node', twice().read(200, 2).read(300, 1, 1, { by: 'node-1.2' })],
    ['an older one beside a newer one', twice().read(200, 2, 2, { end: 300 }).read(250, 1)],
    ['an older one that is flagged', twice().read(200, 2).read(300, 1, 1, { stale: true })],
    [
      "a stranger's MAX + 1 after a deletion",
      story().save(1, 0).delete(50).save(1, 100, { by: 'foreign-0', kind: 'foreign insert', revision: 3 }),
    ],
    ['an error while servers are away', twice().fail({})],
    [
      'what a node reads between a deletion that a rival save outlived and its next one',
      twice()
        .change({ kind: 'delete', begin: 120, end: 130, outcome: 'done' })
        .read(131, 2, 2, { by: 'node-0.1' })
        .change({ kind: 'deleteVersion', version: 2, begin: 130.5, end: 132, outcome: 'done' })
        .head({ by: 'node-0.1', at: 130.9 }),
    ],
  ])('%s', (_, { kinds }) => expect(kinds).toEqual([]));
});

describe('what is not', () => {
  test.each<[(typeof violationKinds)[number], string, () => Story]>([
    ['stale read', 'the one before, beyond the bound', () => twice().read(1111, 1)],
    ['stale read', 'flagged, beyond the bound of those', () => twice().read(5111, 1, 1, { stale: true })],
    ['stale read', 'absence, long after the first save', () => story().save(1, 0).read(1011, 0)],
    ['stale read', 'without a revision', () => twice().read(1111, 1, 1, { version: undefined, revision: undefined })],
    [
      'stale read',
      'a save of which nobody knows is known by the next',
      () => story().save(1, 0).save(2, 50, never).save(3, 100).read(1111, 2),
    ],
    ['own write not read', 'one ms after its acknowledgement', () => twice().read(111, 1, 1, { by: 'node-0.1' })],
    ['own write not read', 'a deletion', () => story().save(1, 0).delete(100).read(111, 1, 1, { by: 'node-0.1' })],
    ['non-monotonic read', 'one node goes back', () => twice().read(200, 2).read(300, 1)],
    ['non-monotonic read', 'to absence', () => story().save(1, 0).read(20, 1).read(30, 0)],
    ['resurrected delete', 'in a read', () => story().save(1, 0).delete(100).read(1111, 1)],
    [
      'resurrected delete',
      'in the table',
      () => {
        const deleted = story().save(1, 0).delete(100);
        deleted.history.rows = [{ key: 0, version: 1, write: 101 }];
        return deleted;
      },
    ],
    [
      'cross-user read',
      'with intact bytes',
      () =>
        twice().read(200, 2, 2, { body: { write: 102, userTag: tag('bob'), nameTag: tag('default'), exact: true } }),
    ],
    [
      'wrong bytes',
      'of another name',
      () => twice().read(200, 2, 2, { body: { write: 102, userTag: tag('alice'), nameTag: 1, exact: true } }),
    ],
    [
      'wrong bytes',
      'one weight',
      () =>
        twice().read(200, 2, 2, { body: { write: 102, userTag: tag('alice'), nameTag: tag('default'), exact: false } }),
    ],
    ['wrong bytes', 'those of another version', () => twice().read(200, 1, 2, { version: 2 })],
    ['wrong bytes', 'never committed', () => twice().read(200, 2, 77)],
    ['wrong bytes', 'refused as corrupt', () => twice().fail({ error: 'ADAPTER_CORRUPT' })],
    [
      'wrong bytes',
      'in the table',
      () => {
        const saved = story().save(1, 0);
        saved.history.rows = [{ key: 0, version: 1, write: 7 }];
        return saved;
      },
    ],
    [
      'lost save',
      'acknowledged and never committed',
      () => {
        const saved = story();
        saved.history.writes.push({ ...(twice().history.writes[0] as Write) });
        return saved;
      },
    ],
    [
      'lost save',
      'gone from the table',
      () => {
        const saved = story().save(1, 0);
        saved.history.rows = [];
        return saved;
      },
    ],
    [
      'lost save',
      'removed by nobody who said so',
      () => {
        const saved = story().save(1, 0).body({ change: 'delete', by: 'thief', at: 50 });
        saved.history.rows = [];
        return saved;
      },
    ],
    [
      'lost save',
      'never the latest',
      () => {
        const saved = twice();
        saved.history.heads.pop();
        return saved;
      },
    ],
    ['refused save committed', 'after a conflict', () => story().save(1, 0, { outcome: 'refused' })],
    ['lost update', 'a condition that did not hold', () => twice().save(3, 200, { expectedVersion: 1 })],
    ['version reuse', 'by the package, after a deletion', () => story().save(1, 0).delete(50).save(1, 100)],
    ['revision reuse', 'one revision, two bodies', () => twice().head({ revision: 2, version: 1, write: 101 })],
    ['revision reuse', 'a head that goes back', () => twice().head({ revision: 1, version: 2, write: 102 })],
    ['false head', 'points at what is gone', () => story().save(1, 0).head({ version: 1, write: 0, trueVersion: 0 })],
    ['not recovered', 'an error after all was healed', () => twice().fail({ final: true })],
    ['unexpected error', 'a TypeError', () => twice().fail({ error: 'UNEXPECTED', message: 'TypeError' })],
  ])('%s: %s', (kind, _, tell) => expect(tell().kinds).toContain(kind));

  test('every kind was shown', () => expect([...covered].sort()).toEqual([...violationKinds].sort()));
});
