/** Steps of the ear and the bus: what is delivered, in commit order by the one and in any order by the other. */
import type { Moves } from './moves.js';
import { xmax } from './postgres-model.js';
import { LEASE, MINUTES, type Node, SERVER, type Word, type World } from './world.js';

export const ears: Moves = (world, i, act, plan) => {
  const node = world.nodes[i];
  const { horizon, provenAt } = node.known;
  const [word] = node.stream;
  if (word !== undefined) {
    act(
      () => `the ear hears ${say(word)}`,
      (_, actor) => {
        const word = actor.node.stream.shift() as Word;
        if (word.is === 'head') actor.heard(word.revision, 'change-feed');
        else if (word.is === 'many') actor.coherence.loseHorizon();
        else if (word.is === 'beat') actor.coherence.heartbeat(word.sentAt);
        else actor.coherence.listen({ server: SERVER, xid: word.xid, mark: word.mark }, word.era, word.sentAt);
      },
    );
  }
  if (plan.reduced === false) {
    if (plan.rules.feed && !node.listening && horizon === undefined) {
      act(
        () => 'the ear listens',
        (_, { node }) => {
          node.listening = true;
        },
      );
    }
    if (owesQuestion(node)) {
      act(
        () => `Postgres is asked for a ${horizon === undefined ? `horizon: ${xmax(world.pg)}` : 'heartbeat'}`,
        (next, { node }) => asks(next, node),
      );
    }
  }
  if (!node.listening && horizon !== undefined) {
    act(
      () => 'the cut of the ear is noticed',
      (_, { coherence }) => coherence.loseHorizon(),
    );
    if (node.now - provenAt < LEASE) {
      act(
        () => 'the lease of the cut ear runs out',
        (next, { node }) => pass(node, next.pg.revision),
      );
    }
  }

  if (!plan.rules.feed && remembers(node)) {
    act(
      () => 'minutes pass',
      (next, { node }) => pass(node, next.pg.revision),
    );
  }

  for (const [k, { revision }] of node.inbox.entries()) {
    act(
      () => `the bus tells of r${revision}`,
      (next, actor, rules) => {
        const { revision, confirms, left } = actor.node.inbox[k] ?? { revision: 0, confirms: true, left: 1 };
        // A second time it says something new only where the first was forgotten.
        const again = left > 1 && next.faults > 0;
        actor.node.inbox.splice(k, 1, ...(again ? [{ revision, confirms, left: left - 1 }] : []));
        actor.heard(revision, 'bus', confirms || !rules.saysUnsettled);
      },
    );
  }
  if (node.unconfirmed > 0) {
    act(
      () => `nobody confirmed r${node.unconfirmed}: Redis is cleared below it`,
      (next, actor, { scripts }) => {
        for (const { revision } of actor.changes((changes) => changes.takeUnconfirmed())) {
          next.redis = scripts.clear(next.redis, revision);
          if (next.cleared >= 0) next.cleared = Math.max(next.cleared, revision);
        }
      },
      true,
    );
  }
};

/** Whether it has anything that time could make worthless. */
function remembers({ memory, flights, now }: Node): boolean {
  if (memory !== undefined && now - memory.verifiedAt < LEASE) return true;
  return flights.some(({ begunAt }) => now - begunAt < LEASE);
}

/** Whether a horizon or a heartbeat is wanting, and none is on its way. */
export function owesQuestion({ listening, stream, known, now }: Node): boolean {
  if (!listening) return false;
  const wanted = known.horizon === undefined ? 'horizon' : 'beat';
  if (wanted === 'beat' && now - known.provenAt < LEASE) return false;
  return !stream.some(({ is }) => is === wanted);
}

/** Whether that is the node's own, and not what it listens to. */
export function isQuestion({ is }: Word): boolean {
  return is === 'horizon' || is === 'beat';
}

export function asks(world: World, node: Node): void {
  const { known, stream } = node;
  const sentAt = node.now;
  if (known.horizon !== undefined) stream.push({ is: 'beat', sentAt });
  else {
    world.pg = { ...world.pg, mark: world.pg.mark + 1 };
    stream.push({ is: 'horizon', xid: xmax(world.pg), mark: world.pg.mark, era: known.era, sentAt });
  }
}

/** Longer than any lease: what is committed by now should be known by then. */
export function pass(node: Node, revision: number): void {
  node.now = (Math.floor(node.now / MINUTES) + 1) * MINUTES;
  node.expired = revision;
}

function say(word: Word): string {
  if (word.is === 'head') return `r${word.revision}`;
  if (word.is === 'many') return 'that many have changed';
  return word.is === 'beat' ? 'its heartbeat' : `its horizon ${word.xid}`;
}
