/** Breadth first: the first broken promise found has the shortest trace there is. */
import { digest } from './digest.js';
import { type Plan, type Step, steps } from './moves.js';
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

interface Way {
  readonly step: string;
  readonly before: Way | undefined;
}

interface Reached {
  readonly world: World;
  readonly way: Way;
}

export function walk(plan: Plan, bounds: Bounds): Outcome {
  const { depth: deepest = Number.POSITIVE_INFINITY, ...budget } = bounds;
  const seen = new Set<number>();
  let level: Reached[] = [];
  for (const [i, world] of beginnings(budget).entries()) {
    seen.add(digest(world));
    level.push({
      world,
      way: { step: `r1 is committed, both ears listen, caches are ${i === 0 ? 'empty' : 'full'}`, before: undefined },
    });
  }
  let taken = 0;
  for (let depth = 0; ; depth++) {
    const next: Reached[] = [];
    for (const { world, way } of level) {
      for (const step of steps(world, plan)) {
        taken++;
        const reached = settle(plan, step, way);
        const mark = digest(reached.world);
        const broken = reached.broken ?? (seen.has(mark) ? undefined : brokenPromise(reached.world, plan.rules));
        if (broken !== undefined) {
          const failure = trace(reached.way, broken);
          return { states: seen.size, steps: taken, depth, failure };
        }
        if (seen.has(mark)) continue;
        seen.add(mark);
        next.push(reached);
      }
    }
    if (next.length === 0 || depth + 1 >= deepest)
      return { states: seen.size, steps: taken, depth: depth + 1, failure: undefined };
    level = next;
  }
}

/** Takes the step, and in a coarse walk what follows at once. */
function settle(plan: Plan, first: Step, before: Way): Reached & { broken: string | undefined } {
  let way: Way = { step: first.name, before };
  let { world, broken } = first.take();
  while (plan.coarse === true && broken === undefined) {
    const step = urgentStep(world, plan);
    if (step === undefined) break;
    way = { step: step.name, before: way };
    ({ world, broken } = step.take());
  }
  return { world, way, broken };
}

function urgentStep(world: World, plan: Plan): Step | undefined {
  for (const step of steps(world, plan)) {
    if (step.urgent) return step;
  }
  return undefined;
}

function trace(end: Way, broken: string): string {
  const lines: string[] = [];
  for (let way: Way | undefined = end; way !== undefined; way = way.before) lines.unshift(way.step);
  return [...lines.map((line, i) => `${String(i).padStart(2)}. ${line}`), `BROKEN: ${broken}`].join('\n');
}
