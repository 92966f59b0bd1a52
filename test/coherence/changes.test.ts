/** What a node does about changes, event by event: what is left to be done outside is part of each answer. */
import { expect, test } from 'vitest';
import { Changes } from '../../src/coherence/changes.js';
import { Coherence } from '../../src/coherence/head.js';
import { keyOf } from '../../src/coherence/key.js';

const [a, b] = ['a', 'b'].map((name) => keyOf('00000000-0000-4000-8000-000000000001', name)) as [
  ReturnType<typeof keyOf>,
  ReturnType<typeof keyOf>,
];

function changes(maxFloors = 100): Changes<never> {
  return new Changes(new Coherence({ maxStalenessMs: 1000, changeFeed: true, maxFloors }), undefined);
}

test('what only the change feed told of is cleared, unless the bus confirms it or something newer', () => {
  const told = changes();
  expect(told.heard(a, 5, 'change-feed', 0)).toMatchObject({ unconfirmed: true, invalidated: true });
  expect(told.heard(b, 5, 'change-feed', 0)).toMatchObject({ unconfirmed: true });
  expect(told.heard(b, 4, 'bus', 0)).toBeUndefined();
  expect(told.heard(a, 5, 'bus', 0)).toBeUndefined();
  expect(told.takeUnconfirmed()).toEqual([{ key: b, revision: 5 }]);
  expect(told.takeUnconfirmed()).toEqual([]);
});

test('dropped floors ask for a new horizon, and so do dropped doubts', () => {
  const full = changes(1);
  expect(full.heard(a, 5, 'bus', 0)?.renew).toBe(false);
  expect(full.heard(b, 5, 'bus', 0)?.renew).toBe(true);
  const doubting = changes(1);
  expect(doubting.unanswered(a, 0).renew).toBe(false);
  expect(doubting.unanswered(b, 0).renew).toBe(true);
});

test('a bus message of a write that Redis did not take confirms nothing, and has Redis cleared itself', () => {
  const told = changes();
  told.heard(a, 5, 'change-feed', 0);
  told.heard(a, 5, 'bus', 0, false);
  expect(told.takeUnconfirmed()).toEqual([{ key: a, revision: 5 }]);
  expect(told.heard(a, 6, 'bus', 0, false)?.unconfirmed).toBe(true);
  expect(told.heard(a, 6, 'change-feed', 0)).toBeUndefined();
  expect(told.takeUnconfirmed()).toEqual([{ key: a, revision: 6 }]);
});

test('a save of this node that reached Redis late is cleared by the node itself, whoever says that Redis holds nothing older', () => {
  const told = changes();
  const saved = { revision: 5 } as never;
  expect(told.overtaken(a, saved)).toBe(false);
  // Its own next write follows on the same connection, and word of the save itself is no news of something newer.
  told.heard(a, 5, 'bus', 0);
  expect(told.takeUnconfirmed()).toEqual([]);
  told.heard(a, 6, 'bus', 0);
  expect(told.takeUnconfirmed()).toEqual([{ key: a, revision: 6 }]);
  // It is gone now, and what others write is theirs to clear.
  told.heard(a, 7, 'bus', 0);
  expect(told.takeUnconfirmed()).toEqual([]);
  told.overtaken(a, { revision: 7 } as never);
  // Word from the feed waits for a confirmation, and this one is none.
  told.heard(a, 8, 'change-feed', 0);
  told.heard(a, 8, 'bus', 0);
  expect(told.takeUnconfirmed()).toEqual([{ key: a, revision: 8 }]);
  expect(told.overtaken(a, saved)).toBe(true);
});
