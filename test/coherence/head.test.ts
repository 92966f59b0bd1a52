/** The rule by which a cached reading may be served unasked, event by event, on a clock of the test's own. */
import { describe, expect, test } from 'vitest';
import { Coherence, type Reading } from '../../src/coherence/head.js';

const SERVER = 7;
const MAX = 1000;

/** Read by another node: only its stamp speaks for it. */
function reading(xid: number, more: Partial<Reading> = {}): Reading {
  return { revision: 5, version: 1, server: SERVER, xid, verifiedAt: Number.NEGATIVE_INFINITY, era: 0, ...more };
}

function machine(options: { changeFeed?: boolean; maxFloors?: number } = {}): Coherence {
  return new Coherence({ maxStalenessMs: MAX, changeFeed: true, ...options });
}

/** A reading of this revision. */
function at(revision: number, verifiedAt = 0): Reading {
  return { ...reading(0), revision, verifiedAt };
}

/** A machine whose ear noted horizon `xid` at time `sentAt`. */
function listening(xid = 100, sentAt = 0): Coherence {
  const coherence = machine();
  coherence.listen({ server: SERVER, xid }, coherence.era, sentAt);
  return coherence;
}

describe('floors', () => {
  test('a revision is news once, an older one never', () => {
    const coherence = machine();
    expect(coherence.raise('k', 5, 0)).toBe(true);
    expect(coherence.raise('k', 5, 0)).toBe(false);
    expect(coherence.raise('k', 4, 0)).toBe(false);
    expect(coherence.raise('k', 6, 0)).toBe(true);
  });

  test('the fence admits what is not older than what was heard, of that key', () => {
    const coherence = machine();
    coherence.raise('k', 5, 0);
    expect([4, 5, 6].map((revision) => coherence.admits('k', at(revision)))).toEqual([false, true, true]);
    expect(coherence.admits('another', at(0))).toBe(true);
  });

  test('one key too many forgets them all, keeps its own, and ends the horizon', () => {
    const coherence = machine({ maxFloors: 2 });
    const { era } = coherence;
    coherence.listen({ server: SERVER, xid: 100 }, era, 0);
    coherence.raise('a', 5, 1);
    coherence.raise('b', 5, 1);
    coherence.raise('a', 6, 1);
    expect(coherence.live(1)).toBe(true);
    coherence.raise('c', 5, 1);
    expect(coherence.admits('a', at(1))).toBe(true);
    expect(coherence.admits('c', at(4))).toBe(false);
    expect(coherence.counts(reading(200), 1)).toBe(false);
    expect(coherence.era).toBeGreaterThan(era);
  });
});

describe('what callers were given', () => {
  test('nothing older is admitted after it, as if it had been heard', () => {
    const coherence = machine();
    expect(coherence.show('k', 5, 0)).toBe(true);
    expect(coherence.show('k', 5, 0)).toBe(false);
    expect([4, 5].map((revision) => coherence.admits('k', at(revision)))).toEqual([false, true]);
    expect(coherence.admits('another', at(4))).toBe(true);
    coherence.raise('k', 7, 0);
    expect(coherence.show('k', 6, 0)).toBe(false);
  });

  test('it is remembered for as long as an ear may be mute and trusted, and not for ever', () => {
    const coherence = machine();
    coherence.show('k', 5, MAX - 1);
    coherence.show('a', 1, MAX);
    coherence.show('b', 1, 2 * MAX - 1);
    expect(coherence.outdated('k', at(4))).toBe(true);
    coherence.show('c', 1, 3 * MAX);
    coherence.show('d', 1, 4 * MAX);
    expect(coherence.outdated('k', at(4))).toBe(false);
  });

  test('it is bounded as floors are: one too many ends the horizon', () => {
    const coherence = machine({ maxFloors: 2 });
    coherence.listen({ server: SERVER, xid: 100 }, coherence.era, 0);
    for (const key of ['a', 'b']) coherence.show(key, 5, 1);
    expect(coherence.live(1)).toBe(true);
    coherence.show('c', 5, 1);
    expect(coherence.live(1)).toBe(false);
    expect(coherence.outdated('c', at(4))).toBe(true);
  });
});

describe('doubt', () => {
  test('what was read before a write went unanswered is refused, what was read after it is not', () => {
    const coherence = machine();
    coherence.doubt('k', 10);
    expect(coherence.admits('k', at(5, 9))).toBe(false);
    expect(coherence.admits('k', at(5, 10))).toBe(false);
    expect(coherence.admits('another', at(5, 9))).toBe(true);
    expect(coherence.admits('k', at(5, 11))).toBe(true);
    // Settled: what Redis holds of it, read at no known time, may be looked at again.
    expect(coherence.admits('k', at(5, Number.NEGATIVE_INFINITY))).toBe(true);
  });

  test('doubts are bounded as floors are', () => {
    const coherence = machine({ maxFloors: 2 });
    const { era } = coherence;
    for (const [i, key] of ['a', 'b', 'c'].entries()) coherence.doubt(key, i);
    expect(coherence.era).toBeGreaterThan(era);
    expect(coherence.admits('c', at(5, 1))).toBe(false);
  });
});

describe('horizon', () => {
  test('a stamp counts from the horizon on', () => {
    const coherence = listening(100);
    expect([99, 100, 101].map((xid) => coherence.counts(reading(xid), 1))).toEqual([false, true, true]);
  });

  test('nothing counts before there is one, nor after it was lost', () => {
    const coherence = machine();
    coherence.heartbeat(0);
    expect(coherence.counts(reading(1e9), 1)).toBe(false);
    coherence.listen({ server: SERVER, xid: 100 }, coherence.era, 0);
    expect(coherence.counts(reading(100), 1)).toBe(true);
    coherence.loseHorizon();
    expect(coherence.counts(reading(1e9), 1)).toBe(false);
    expect(coherence.live(1)).toBe(false);
  });

  test('one asked for before the last loss is refused', () => {
    const coherence = machine();
    const { era } = coherence;
    // The query is under way; meanwhile '*' arrives, of a commit that the query may not have seen.
    coherence.loseHorizon();
    expect(coherence.listen({ server: SERVER, xid: 100 }, era, 0)).toBe(false);
    expect(coherence.counts(reading(100), 1)).toBe(false);
    expect(coherence.listen({ server: SERVER, xid: 101 }, coherence.era, 0)).toBe(true);
    expect(coherence.counts(reading(100), 1)).toBe(false);
  });

  test('stamps of another postmaster say nothing, whatever their number', () => {
    const coherence = listening(100);
    expect(coherence.counts(reading(1e9, { server: 8 }), 1)).toBe(false);
    expect(coherence.counts(reading(1e9, { server: 0 }), 1)).toBe(false);
  });

  test('what this node asked for while this ear listened counts below the horizon too, and only then', () => {
    const coherence = listening(100);
    const mine = reading(50, coherence.ask(1));
    expect(coherence.counts(mine, 2)).toBe(true);
    expect(coherence.counts({ ...mine, server: 8 }, 2)).toBe(false);
    coherence.loseHorizon();
    const deaf = reading(50, coherence.ask(3));
    coherence.listen({ server: SERVER, xid: 100 }, coherence.era, 4);
    expect(coherence.counts(mine, 5)).toBe(false);
    expect(coherence.counts(deaf, 5)).toBe(false);
  });
});

describe('the primary', () => {
  test('another server answers as it: an ear that listens to this one covers nothing any more', () => {
    const coherence = listening();
    coherence.answered(SERVER);
    expect([coherence.counts(reading(200), 1), coherence.isPrimary(SERVER)]).toEqual([true, true]);
    const { era } = coherence;
    coherence.answered(SERVER + 1);
    expect([coherence.counts(reading(200), 1), coherence.isPrimary(SERVER)]).toEqual([false, false]);
    expect(coherence.listen({ server: SERVER, xid: 100 }, era, 1)).toBe(false);
  });

  test('who has not been asked yet may be any', () => {
    expect(machine().isPrimary(SERVER)).toBe(true);
  });
});

describe('lease', () => {
  test('runs from when the query for the horizon was sent, not from when it was answered', () => {
    const coherence = listening(100, 500);
    expect(coherence.counts(reading(100), 500 + MAX - 1)).toBe(true);
    expect(coherence.counts(reading(100), 500 + MAX)).toBe(false);
    expect(coherence.live(500 + MAX)).toBe(false);
  });

  test('is prolonged by when a heartbeat was sent, and never shortened by an old one', () => {
    const coherence = listening(100, 0);
    coherence.heartbeat(600);
    coherence.heartbeat(300);
    expect(coherence.counts(reading(100), 600 + MAX - 1)).toBe(true);
    expect(coherence.counts(reading(100), 600 + MAX)).toBe(false);
  });
});

describe('when a reading was last known to be the latest', () => {
  test('the last heartbeat says so of what the horizon covers, its own time of the rest', () => {
    const coherence = listening(100, 0);
    coherence.heartbeat(600);
    expect(coherence.knownLatestAt(reading(100))).toBe(600);
    expect(coherence.knownLatestAt(reading(100, { verifiedAt: 700 }))).toBe(700);
    expect(coherence.knownLatestAt(reading(99, { verifiedAt: 10 }))).toBe(10);
  });

  test('a lost horizon speaks for what it covered until its last heartbeat, through the era of the next', () => {
    const coherence = listening(100, 0);
    coherence.heartbeat(600);
    const mine = reading(50, coherence.ask(10));
    coherence.loseHorizon();
    coherence.loseHorizon();
    coherence.heartbeat(5000);
    for (const covered of [reading(100), mine]) expect(coherence.knownLatestAt(covered)).toBe(600);
    expect(coherence.knownLatestAt(reading(99, { verifiedAt: 10 }))).toBe(10);
    coherence.listen({ server: SERVER, xid: 200 }, coherence.era, 6000);
    expect(coherence.knownLatestAt(reading(100))).toBe(600);
    expect(coherence.knownLatestAt(reading(200))).toBe(6000);
    expect(coherence.knownLatestAt(reading(100, { server: 8 }))).toBe(Number.NEGATIVE_INFINITY);
  });
});

describe('without a change feed', () => {
  test('a reading counts for maxStalenessMs after its verification, whatever its stamp', () => {
    const coherence = machine({ changeFeed: false });
    const verified = reading(1, { verifiedAt: 100 });
    expect(coherence.counts(verified, 100 + MAX - 1)).toBe(true);
    expect(coherence.counts(verified, 100 + MAX)).toBe(false);
    expect(coherence.counts({ ...verified, server: 0 }, 101)).toBe(false);
    expect(coherence.counts(reading(1e9), 101)).toBe(false);
  });

  test('forgotten floors end what was verified up to then', () => {
    const coherence = machine({ changeFeed: false, maxFloors: 1 });
    coherence.raise('a', 5, 50);
    coherence.raise('b', 5, 100);
    expect(coherence.counts(reading(1, { verifiedAt: 100 }), 101)).toBe(false);
    expect(coherence.counts(reading(1, { verifiedAt: 101 }), 102)).toBe(true);
  });
});
