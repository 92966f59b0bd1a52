/** Who is said to have saved, whichever of a node's two reports of its own save comes first. */
import { expect, test } from 'vitest';

interface State {
  readonly travels: { newest(count: number): unknown[] };
  hear(node: string, message: { type: string } & Record<string, unknown>): void;
}

const path = new URL('../../../examples/live/state.js', import.meta.url).href;
const { State } = (await import(path)) as { State: new () => State };

const userId = '00000000-0000-4000-8000-000000000201';

function invalidated(revision: number, via: string, at: number): { type: string } & Record<string, unknown> {
  return { type: 'event', event: 'invalidated', detail: { revision, userId, via }, at };
}

test.each(['trained', 'rolledBack'])('a node whose ear was faster than its own save: %s tells whose it was', (type) => {
  const state = new State();
  state.hear('B', invalidated(7, 'change-feed', 1));
  state.hear('A', invalidated(7, 'bus', 3));
  expect(state.travels.newest(10)).toEqual([]);
  state.hear('B', { type, userId, version: 4, events: 20 });
  expect(state.travels.newest(10)).toMatchObject([{ revision: 7, from: 'B', to: 'A', via: 'bus', delayMs: 2 }]);
});

test('a save that the node reports as its own is nobody else’s', () => {
  const state = new State();
  state.hear('A', invalidated(8, 'self', 1));
  state.hear('B', invalidated(8, 'bus', 2));
  state.hear('B', { type: 'rolledBack', userId, version: 4 });
  expect(state.travels.newest(10)).toMatchObject([{ from: 'A', to: 'B', delayMs: 1 }]);
});
