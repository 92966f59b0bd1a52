/** Every step that may come next, of either node. */
import { ears } from './ear-moves.js';
import { faults, withRedisFault } from './fault-moves.js';
import { loads } from './load-moves.js';
import { Actor } from './node.js';
import type { Operation } from './postgres-model.js';
import type { Rules } from './rules.js';
import { tidy } from './tidy.js';
import { copyWorld, type World } from './world.js';
import { writes } from './write-moves.js';

export const FAULTS = ['flush', 'failover', 'unreachable', 'lost answer', 'cut', 'restart', 'stop', 'forget'] as const;
export type Fault = (typeof FAULTS)[number];

export interface Plan {
  readonly rules: Rules;
  readonly operations: readonly Operation[];
  /** Which faults may strike; all of them if nothing is said. */
  readonly kinds?: readonly Fault[];
  /** Memory may lose what it holds at any time. */
  readonly evicts?: boolean;
  /** False: nothing is left out, to see that what tidy() leaves out is not missed. */
  readonly reduced?: boolean;
}

export interface Step {
  readonly i: 0 | 1;
  name(): string;
  readonly effect: Effect;
}

/** Changes `next`; a string says what was broken by it. */
export type Effect = (next: World, actor: Actor, rules: Rules) => unknown;

/** touches: it reads or changes what stands in Redis. */
type Act = (name: () => string, effect: Effect, touches?: boolean) => void;

export type Moves = (world: World, i: 0 | 1, act: Act, plan: Plan) => void;

export function steps(world: World, plan: Plan): Step[] {
  const found: Step[] = [];
  for (const i of [0, 1] as const) {
    const act: Act = (name, effect, touches = false) => {
      const step = { i, name, effect };
      found.push(step);
      if (touches && world.faults > 0 && plan.reduced !== false) found.push(...withRedisFault(world, step, plan));
    };
    for (const moves of [loads, writes, ears, faults]) moves(world, i, act, plan);
  }
  return found;
}

/** The world after it, and what it broke. */
export function take(world: World, { i, effect }: Step, plan: Plan): { world: World; broken: string | undefined } {
  const next = copyWorld(world);
  const broken = effect(next, new Actor(next, i, plan.rules), plan.rules);
  if (plan.reduced !== false) tidy(next, plan);
  return { world: next, broken: typeof broken === 'string' ? broken : undefined };
}

export function strikes(world: World, { kinds = FAULTS }: Plan, fault: Fault): boolean {
  return world.faults > 0 && kinds.includes(fault);
}
