/** Breadth first: the first broken promise found has the shortest trace there is. */
import { digest } from './digest.js';
import { Reached } from './marks.js';
import { type Plan, type Step, steps, take } from './moves.js';
import { brokenPromise } from './promises.js';
import { beginnings, type World } from './world.js';

export interface Bounds {
  readonly loads: number;
  readonly writes: number;
  readonly faults: number;
  /** Every order of so many steps, and no longer ones. */
  readonly depth?: number;
}

export interface Outcome {
  readonly states: number;
  readonly steps: number;
  readonly depth: number;
  /** What broke, and the steps that led there; undefined: nothing did. */
  readonly failure: string | undefined;
}

interface Found {
  readonly state: number;
  readonly world: World;
}

export function walk(plan: Plan, bounds: Bounds): Outcome {
  const { depth: deepest = Number.POSITIVE_INFINITY, ...budget } = bounds;
  const reached = new Reached();
  let level: Found[] = [];
  for (const [state, world] of beginnings(budget, plan.rules).entries()) {
    reached.add(digest(world, plan.rules), -1, 0);
    level.push({ state, world });
  }
  let taken = 0;
  for (let depth = 1; ; depth++) {
    const next: Found[] = [];
    for (const { state, world } of level) {
      for (const [nth, step] of steps(world, plan).entries()) {
        taken++;
        const { world: after, broken } = take(world, step, plan);
        const isNew = reached.add(digest(after, plan.rules), state, nth);
        const failure = broken ?? (isNew ? brokenPromise(after, plan.rules) : undefined);
        if (failure !== undefined) {
          const way = reached.way(state);
          return {
            states: reached.size,
            steps: taken,
            depth,
            failure: trace(plan, budget, { ...way, steps: [...way.steps, nth] }, failure),
          };
        }
        if (isNew) next.push({ state: reached.size - 1, world: after });
      }
    }
    if (next.length === 0 || depth >= deepest) return { states: reached.size, steps: taken, depth, failure: undefined };
    level = next;
  }
}

/** Goes the way once more, with the names of its steps. */
function trace(plan: Plan, budget: Omit<Bounds, 'depth'>, way: ReturnType<Reached['way']>, broken: string): string {
  const caches = way.beginning === 0 ? 'empty' : 'full';
  const lines = [`r1 is committed, ${plan.rules.feed ? 'both ears listen, ' : ''}caches are ${caches}`];
  let world = beginnings(budget, plan.rules)[way.beginning] as World;
  for (const nth of way.steps) {
    const step = steps(world, plan)[nth] as Step;
    lines.push(`${'AB'[step.i]}: ${step.name()}`);
    world = take(world, step, plan).world;
  }
  return [...lines.map((line, i) => `${String(i).padStart(2)}. ${line}`), `BROKEN: ${broken}`].join('\n');
}
