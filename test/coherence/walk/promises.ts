/** What must hold in every state of the walk; in words where it does not. */
import type { Coherence } from '../../../src/coherence/head.js';
import { shownTo } from './load-moves.js';
import type { Rules } from './rules.js';
import { type Body, KEY, type Node, type World } from './world.js';

export function brokenPromise(world: World, rules: Rules): string | undefined {
  for (const node of world.nodes) {
    const coherence = rules.coherence(node.known);
    const { memory } = node;
    // What a load would be answered with now, by memory, and by Redis if memory held nothing.
    if (memory !== undefined && coherence.counts(memory, node.now)) {
      if (memory.revision < node.unanswered)
        return `memory would serve r${memory.revision} after a write whose answer was lost`;
      const broken = stale('memory', memory, node, world, rules);
      if (broken !== undefined) return broken;
    }
    if (rules.replica) {
      const shown = shownTo({ node, coherence }, rules, world.replica);
      const broken = servable(coherence, shown, node) ? stale('the standby', shown, node, world, rules) : undefined;
      if (broken !== undefined) return broken;
    }
    const found = world.redis?.entry;
    if (found !== undefined && servable(coherence, found, node)) {
      const broken = stale('Redis', found, node, world, rules);
      if (broken !== undefined) return broken;
    }
  }
  return leftBehind(world);
}

function servable(coherence: Coherence, found: Body, node: Node): boolean {
  return coherence.admits(KEY.id, found) && coherence.counts(found, node.now);
}

/** An older version may be served as long as word of the newer one is on its way and the lease runs, and no longer. */
function stale(tier: string, { revision }: Body, node: Node, world: World, rules: Rules): string | undefined {
  const what = `${tier} would serve r${revision}, `;
  if (revision < node.heard) return `${what}though its node has heard of r${node.heard}`;
  if (revision < node.expired) return `${what}though r${node.expired} was committed longer ago than a lease`;
  if (revision < node.given) return `${what}though a load there was given r${node.given} before`;
  if (!rules.feed) return undefined;
  const comes = node.stream.some((word) => word.is === 'many' || (word.is === 'head' && word.revision > revision));
  if (revision === world.pg.revision || comes || !node.listening) return undefined;
  return `${what}and nothing that is on its way will ever tell of r${world.pg.revision}`;
}

/** Redis drops what a slow loader left, once a node has heard and everything it caused has arrived. */
function leftBehind({ redis, nodes, cleared, told }: World): string | undefined {
  const held = redis?.entry?.revision;
  if (held === undefined) return undefined;
  if (held < cleared) return `Redis was told of r${cleared} and holds r${held} again`;
  const busy = nodes.some(({ unconfirmed, writes }) => unconfirmed > 0 || writes.some(({ at }) => at === 'telling'));
  return held < told && !busy ? `a node has heard of r${told}, and nobody removes r${held} from Redis` : undefined;
}
