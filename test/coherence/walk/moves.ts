/** Every step that may come next, of either node. */
import { ears } from './ear-moves.js';
import { faults } from './fault-moves.js';
import { loads } from './load-moves.js';
import { Actor } from './node.js';
import type { Operation } from './postgres-model.js';
import type { Rules } from './rules.js';
import { copyWorld, type World } from './world.js';
import { writes } from './write-moves.js';

export interface Plan {
  readonly rules: Rules;
  readonly operations: readonly Operation[];
  /** Coarse: what is sent is done at once, and only answers, fills and messages take their time. */
  readonly coarse?: boolean;
}

export interface Step {
  readonly name: string;
  /** In a coarse walk nothing comes before it. */
  readonly urgent: boolean;
  /** The world after it, and what it broke. */
  take(): { readonly world: World; readonly broken: string | undefined };
}

/** Changes `next`; a string says what was broken by it. */
type Effect = (next: World, actor: Actor, rules: Rules) => unknown;

type Act = (i: 0 | 1, name: string, effect: Effect, urgent?: boolean) => Step;

export type Moves = (world: World, i: 0 | 1, act: Act, plan: Plan) => Iterable<Step>;

export function* steps(world: World, plan: Plan): Iterable<Step> {
  const act: Act = (i, name, effect, urgent = false) => ({
    name: `${'AB'[i]}: ${name}`,
    urgent,
    take() {
      const next = copyWorld(world);
      const actor = new Actor(next, i, plan.rules);
      const broken = effect(next, actor, plan.rules);
      return { world: next, broken: typeof broken === 'string' ? broken : undefined };
    },
  });
  for (const i of [0, 1] as const) {
    for (const moves of [loads, writes, ears, faults]) yield* moves(world, i, act, plan);
  }
}
