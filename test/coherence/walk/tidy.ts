/**
 * What can have no effect any more is dropped after each step, so that states which differ in nothing else are one. Why
 * nothing is lost: what is dropped here would have changed nothing whenever it came, in this state or in any later one.
 *
 * - A fill over a token that stands neither in Redis nor in the copy it may fail over to: tokens are never left twice, so
 *   no such fill finds its own again. A load that holds such a token leaves nothing.
 * - Word of a revision that the node has heard of, with nothing it could confirm: a floor is raised by news alone. Only
 *   where floors can still be forgotten it may be news again, and stays. The same for a message that comes a second time.
 *
 * Another reduction lies in the steps themselves (load-moves.ts, write-moves.ts): when Postgres reads for a load makes a
 * difference only by which commits it sees. So it reads at once, and at each commit until its answer is here it may turn
 * out to read after it. And what digest.ts passes over, no step and no promise looks at.
 */
import { type Plan, strikes } from './moves.js';
import { change, type Flight, type Node, type World } from './world.js';

export function tidy(world: World, plan: Plan): void {
  const forgets = strikes(world, plan, 'forget');
  for (const i of [0, 1] as const) {
    const node = world.nodes[i];
    if (node.fills.some(({ seen }) => lost(world, seen))) {
      change(world, i).fills = node.fills.filter(({ seen }) => !lost(world, seen));
    }
    for (const [k, flight] of node.flights.entries()) {
      const { found } = flight.state;
      if (flight.at !== 'read' || found?.seen === undefined || !lost(world, found.seen)) continue;
      (change(world, i).flights[k] as Flight).state.found = { entry: found.entry, seen: undefined };
    }
    if (forgets) continue;
    const known = node.known.floors.get('') ?? 0;
    const old = (revision: number) => revision <= known && revision <= node.heard;
    if (node.stream.some((word) => word.is === 'head' && old(word.revision))) {
      change(world, i).stream = node.stream.filter((word) => word.is !== 'head' || !old(word.revision));
    }
    const idle = ({ revision, confirms }: Node['inbox'][number]) =>
      old(revision) && !(confirms && node.unconfirmed > 0 && node.unconfirmed <= revision);
    if (node.inbox.some((message) => idle(message) || message.left > 1)) {
      change(world, i).inbox = node.inbox
        .filter((message) => !idle(message))
        .map((message) => ({ ...message, left: 1 }));
    }
  }
}

/** Whether that was a token, and stands nowhere. */
function lost({ redis, copy }: World, seen: string): boolean {
  return seen.startsWith('token') && redis?.seen !== seen && copy?.value?.seen !== seen;
}
