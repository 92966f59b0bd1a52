/** Faults that strike at any time; those of a write are among its steps. */
import { isQuestion, pass } from './ear-moves.js';
import { type Fault, type Moves, type Plan, type Step, strikes } from './moves.js';
import { asksNow } from './tidy.js';
import { emptyNode, type World } from './world.js';

export const faults: Moves = (world, i, act, plan) => {
  const may = (fault: Fault) => strikes(world, plan, fault);
  if (world.copy !== undefined && i === 0) {
    act(
      () => `Redis fails over to a copy with ${world.copy?.value?.seen ?? 'nothing'}`,
      (next) => {
        next.redis = next.copy?.value;
        next.copy = undefined;
        // What was said of Redis before that is void, and what is still said may be.
        next.cleared = next.told = -1;
      },
    );
  }
  if (world.faults === 0) return;
  const node = world.nodes[i];
  if (i === 0 && plan.reduced === false) {
    for (const step of withRedisFault(world, { i, name: () => 'nothing else', effect: () => undefined }, plan))
      act(step.name, step.effect);
  }
  if (may('cut') && node.listening) {
    act(
      () => 'FAULT: the ear is cut',
      (next, { node, coherence }) => {
        next.faults--;
        node.listening = false;
        node.stream = [];
        if (node.known.horizon === undefined) coherence.loseHorizon();
      },
    );
  }
  if (may('restart'))
    act(
      () => 'FAULT: the node dies and starts again',
      (next, { node }) => {
        const orphans = node.writes.filter(({ at }) => at === 'sent' || at === 'orphaned');
        next.faults--;
        if (node.unconfirmed > 0) next.told = Math.min(next.told, 0);
        // Nobody else knows that its save may have reached Redis last. No node serves it; Redis keeps it for its time.
        if (node.written > 0) next.cleared = next.told = -1;
        const writes = orphans.map((write) => ({ ...write, at: 'orphaned' as const }));
        // What it had sent to Redis may still arrive.
        next.nodes[i] = { ...emptyNode(), fills: node.fills, writes };
      },
    );
  if (may('stop'))
    act(
      () => 'FAULT: the node is stopped for minutes',
      (next, { node }) => {
        next.faults--;
        pass(node, next.pg.revision);
      },
    );
  if (may('stop') && plan.reduced !== false && node.stream.some(isQuestion))
    act(
      () => 'FAULT: the node is stopped for minutes before its ear asks',
      (next, { node }) => {
        next.faults--;
        pass(node, next.pg.revision);
        asksNow(next, i);
      },
    );
  if (may('forget'))
    act(
      () => 'FAULT: the floors are forgotten',
      (next, { node, coherence }) => {
        next.faults--;
        coherence.forget(node.now);
      },
    );
};

/**
 * What happens to Redis itself makes a difference to the next step alone that reads or changes what it holds: it strikes
 * right before that one, and at no other time.
 */
export function withRedisFault(world: World, { i, name, effect }: Step, plan: Plan): Step[] {
  const struck: Step[] = [];
  const strike = (fault: string, change: (next: World) => void) =>
    struck.push({
      i,
      name: () => `FAULT: ${fault}; ${name()}`,
      effect(next, actor, rules) {
        next.faults--;
        change(next);
        return effect(next, actor, rules);
      },
    });
  if (strikes(world, plan, 'flush') && world.redis !== undefined) {
    strike('Redis is flushed', (next) => {
      next.redis = undefined;
    });
  }
  if (strikes(world, plan, 'failover') && world.copy === undefined) {
    strike('the replica of Redis follows no more', (next) => {
      next.copy = { value: next.redis };
    });
  }
  return struck;
}
