/**
 * What can have no effect any more is dropped after each step, so that states which differ in nothing else are one. Why
 * nothing is lost: what is dropped here would have changed nothing whenever it came, in this state or in any later one.
 *
 * - A fill over a token that stands neither in Redis nor in the copy it may fail over to: tokens are never left twice, so
 *   no such fill finds its own again. A load that holds such a token leaves nothing.
 * - Word of a revision that the node has heard of, with nothing it could confirm: a floor is raised by news alone. Only
 *   where floors can still be forgotten it may be news again, and stays. The same for a message that comes a second time.
 *
 * Whatever Postgres is asked, it makes a difference only between which commits: what a load reads, when an ear begins to
 * listen, its horizon and its heartbeat. So each is asked and answered at once, and as long as the answer has not arrived,
 * each commit may turn out to have come before it instead (latecomers(), one step for each choice). A node that is stopped
 * for minutes may ask before it or after. Between a cut and its notice the ear hears nothing and is still trusted; once it
 * is not, it makes no difference to any promise whether it listens already.
 *
 * What Redis is hit by makes a difference to who looks at it next, and strikes then (withRedisFault() in fault-moves.ts).
 * And what digest.ts passes over, no step and no promise looks at. With `reduced: false` all of this is left undone but
 * for the digest, and the tests see to it that both walks find the same.
 */
import { asks, isQuestion, owesQuestion } from './ear-moves.js';
import { reads } from './load-moves.js';
import { type Plan, strikes } from './moves.js';
import type { Rules } from './rules.js';
import { type Body, change, type Flight, KEY, type Node, type World } from './world.js';

export function tidy(world: World, plan: Plan): void {
  dropSpent(world, plan);
  for (const i of [0, 1] as const) {
    const { listening, known } = world.nodes[i];
    if (plan.rules.feed && !listening && known.horizon === undefined) change(world, i).listening = true;
    if (owesQuestion(world.nodes[i])) asksNow(world, i);
  }
}

/** Takes back what is on its way, and asks now. */
export function asksNow(world: World, i: 0 | 1): void {
  const node = change(world, i);
  node.stream = node.stream.filter((word) => !isQuestion(word));
  node.now++;
  asks(world, node);
}

/** Something that a commit may come before, although it seems done: `late` makes it so, once the commit is. */
export interface Latecomer {
  readonly name: string;
  late(next: World): void;
}

/** For each of them its choices, of which one at most is taken. */
export function latecomers({ nodes }: World): Latecomer[][] {
  const found: Latecomer[][] = [];
  for (const i of [0, 1] as const) {
    const { flights, stream, known } = nodes[i];
    const who = 'AB'[i];
    for (const [k, { at }] of flights.entries()) {
      if (at !== 'read') continue;
      found.push([
        {
          name: `Postgres reads for load ${k} of ${who}`,
          late: (next) => reads(change(next, i).flights[k] as Flight, next.pg),
        },
      ]);
    }
    if (!stream.some(isQuestion)) continue;
    const choices = [
      {
        name: `${who} asks for its ${known.horizon === undefined ? 'horizon' : 'heartbeat'}`,
        late: (next: World) => asksNow(next, i),
      },
    ];
    if (known.horizon === undefined && stream.length === 1) {
      choices.push({
        name: `${who} listens`,
        late(next) {
          change(next, i).stream = [];
          asksNow(next, i);
        },
      });
    }
    found.push(choices);
  }
  return found;
}

function dropSpent(world: World, plan: Plan): void {
  const forgets = strikes(world, plan, 'forget');
  for (const i of [0, 1] as const) {
    const node = world.nodes[i];
    if (node.fills.some(({ seen, entry }) => lost(world, plan.rules, seen, entry))) {
      change(world, i).fills = node.fills.filter(({ seen, entry }) => !lost(world, plan.rules, seen, entry));
    }
    for (const [k, flight] of node.flights.entries()) {
      const { found } = flight.state;
      if (flight.answer === undefined || found?.seen === undefined) continue;
      if (!lost(world, plan.rules, found.seen, flight.answer)) continue;
      (change(world, i).flights[k] as Flight).state.found = { entry: found.entry, seen: undefined };
    }
    if (forgets) continue;
    const known = node.known.floors.get(KEY.id) ?? 0;
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

/** Whether that was a token, and would be looked for in vain: where nothing stands, and where something else does. */
function lost({ redis, copy }: World, { scripts }: Rules, seen: string, entry: Body): boolean {
  if (!seen.startsWith('token')) return false;
  return [undefined, redis, copy?.value].every((held) => scripts.fill(held, seen, entry) === held);
}
