/** Faults that strike at any time; those of a write are among its steps. */
import { pass } from './ear-moves.js';
import type { Moves } from './moves.js';
import { emptyNode } from './world.js';

export const faults: Moves = function* (world, i, act) {
  if (world.copy !== undefined && i === 0) {
    yield act(i, `Redis fails over to a copy with ${world.copy.value?.seen ?? 'nothing'}`, (next) => {
      next.redis = next.copy?.value;
      next.copy = undefined;
      // What was said of Redis before that is void, and what is still said may be.
      next.cleared = next.told = -1;
    });
  }
  if (world.faults === 0) return;
  const node = world.nodes[i];
  if (i === 0 && world.redis !== undefined) {
    yield act(i, 'FAULT: Redis is flushed', (next) => {
      next.faults--;
      next.redis = undefined;
    });
  }
  if (i === 0 && world.copy === undefined) {
    yield act(i, 'FAULT: the replica of Redis follows no more', (next) => {
      next.faults--;
      next.copy = { value: next.redis };
    });
  }
  if (node.listening) {
    yield act(i, 'FAULT: the ear is cut', (next, { node, coherence }) => {
      next.faults--;
      node.listening = false;
      node.stream = [];
      if (node.known.horizon === undefined) coherence.loseHorizon();
    });
  }
  yield act(i, 'FAULT: the node dies and starts again', (next, { node }) => {
    const orphans = node.writes.filter(({ at }) => at === 'sent' || at === 'orphaned');
    next.faults--;
    if (node.unconfirmed > 0) next.told = Math.min(next.told, 0);
    const writes = orphans.map((write) => ({ ...write, at: 'orphaned' as const }));
    // What it had sent to Redis may still arrive.
    next.nodes[i] = { ...emptyNode(), fills: node.fills, writes };
  });
  yield act(i, 'FAULT: the node is stopped for minutes', (next, { node }) => {
    next.faults--;
    pass(node, next.pg.revision);
  });
  yield act(i, 'FAULT: the floors are forgotten', (next, { node, coherence }) => {
    next.faults--;
    coherence.forget(node.now);
  });
};
