/** Steps of writes: sent, committed, answered, told to Redis and to the other node; and the death of their answers. */
import { type Moves, strikes } from './moves.js';
import { applies, begin, commit } from './postgres-model.js';
import { latecomers } from './tidy.js';
import { change, KEY, SERVER, type World, type Write } from './world.js';

export const writes: Moves = (world, i, act, plan) => {
  const { operations } = plan;
  if (world.writes > 0) {
    for (const operation of operations.filter((operation) => applies(world.pg, operation))) {
      act(
        () => `a ${operation} is sent`,
        (next, actor) => {
          const { now } = actor.node;
          next.writes--;
          if (operation === 'bulk delete') {
            const asked = { verifiedAt: 0, era: 0 };
            actor.node.writes.push({ operation, xid: next.pg.nextXid, asked, head: undefined, at: 'orphaned' });
            next.pg = begin(next.pg);
            return;
          }
          // A prune does not know its keys beforehand.
          const asked =
            operation === 'prune' ? actor.coherence.ask(now) : actor.changes((changes) => changes.sending(KEY, now));
          if (operation !== 'prune') actor.detach();
          actor.node.writes.push({ operation, xid: next.pg.nextXid, asked, head: undefined, at: 'sent' });
          next.pg = begin(next.pg);
        },
      );
    }
  }
  for (const [k, { operation, at, head }] of world.nodes[i].writes.entries()) {
    if (at === 'sent' || at === 'orphaned') {
      for (const late of plan.reduced === false ? [[]] : choices(latecomers(world))) {
        act(
          () => [`the ${operation} commits`, ...late.map(({ name }) => `before ${name}`)].join(', '),
          (next, { node }) => {
            commits(next, node.writes, k);
            for (const one of late) one.late(next);
          },
        );
      }
    } else if (at === 'committed') {
      act(
        () => `the ${operation} is answered`,
        (next, actor) => {
          const write = actor.node.writes[k] as Write;
          // A prune asks for the heads in a statement of its own.
          if (operation === 'prune') write.head = next.pg;
          const { revision, version } = write.head ?? next.pg;
          actor.heard(revision, 'self');
          const entry = { revision, version, server: SERVER, xid: write.xid, ...write.asked };
          if (operation === 'save') actor.changes((changes) => changes.saved(KEY, entry));
          write.at = 'telling';
          if (!plan.rules.redis) actor.node.writes.splice(k, 1);
        },
      );
    } else {
      act(
        () => `Redis takes the ${operation} of r${head?.revision}, and the bus`,
        (next, actor, { scripts }) => {
          const [{ xid, asked, head }] = actor.node.writes.splice(k, 1) as [Write];
          const { revision, version } = head ?? next.pg;
          const entry = { revision, version, server: SERVER, xid, ...asked };
          next.redis = operation === 'save' ? scripts.write(next.redis, entry) : scripts.clear(next.redis, revision);
          if (operation === 'save' && actor.changes((changes) => changes.overtaken(KEY, entry)))
            next.redis = scripts.clear(next.redis, revision + 1);
          // A save that reaches a cleared Redis late is no loader's, and is judged by its floor like anything else there.
          if (operation === 'save') next.cleared = next.told = Math.min(next.cleared, next.told, revision);
          else if (next.cleared >= 0) next.cleared = Math.max(next.cleared, revision);
          publish(next, i, revision, true);
        },
        true,
      );
    }
    if (strikes(world, plan, 'unreachable') && at === 'telling') {
      act(
        () => `FAULT: Redis does not take the ${operation} of r${head?.revision}, the bus does`,
        (next, { node }) => {
          const [{ head }] = node.writes.splice(k, 1) as [Write];
          next.faults--;
          publish(next, i, head?.revision ?? 0, false);
        },
      );
    }
    if (strikes(world, plan, 'lost answer') && (at === 'sent' || at === 'committed')) {
      act(
        () => `FAULT: the answer to the ${operation} is lost`,
        (next, actor) => {
          const { node } = actor;
          next.faults--;
          if (operation !== 'prune') {
            actor.changes((changes) => changes.unanswered(KEY, node.now));
            actor.detach();
            if (at === 'committed') node.unanswered = next.pg.revision;
          }
          if (at === 'sent') (node.writes[k] as Write).at = 'orphaned';
          else node.writes.splice(k, 1);
        },
      );
    }
  }
};

/** One of each, or none. */
function choices<T>([first, ...rest]: readonly T[][]): T[][] {
  if (first === undefined) return [[]];
  return choices(rest).flatMap((some) => [some, ...first.map((one) => [one, ...some])]);
}

/** NOTIFY is part of the commit: every connection that listens is told, in this order. */
function commits(next: World, writes: Write[], k: number): void {
  const write = writes[k] as Write;
  const before = next.pg.revision;
  next.pg = commit(next.pg, write.xid, write.operation);
  const { revision, version } = next.pg;
  for (const to of [0, 1] as const) {
    if (revision === before || !next.nodes[to].listening) continue;
    // Of more keys than a statement lists nobody is told one by one.
    change(next, to).stream.push(write.operation === 'bulk delete' ? { is: 'many' } : { is: 'head', revision });
  }
  write.head = { revision, version };
  if (write.at === 'orphaned') writes.splice(k, 1);
  else write.at = 'committed';
}

/** To the other node: at most twice, at any time, or never. */
function publish(next: World, from: 0 | 1, revision: number, confirms: boolean): void {
  change(next, from === 0 ? 1 : 0).inbox.push({ revision, confirms, left: 2 });
}
