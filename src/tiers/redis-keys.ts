/**
 * Every key of a user that stands in Redis, names this process never heard of included. In a cluster they lie in one slot,
 * whose keys its master lists; one server is searched from end to end.
 */

import type { Cluster, Redis } from 'ioredis';
import { slotOf } from '../coherence/slot.js';
import { ANYBODY, nameOf } from './redis-nodes.js';

/** More than a slot has keys. */
const ALL = 2 ** 31 - 1;

/** ask: with whom it is asked; undefined where it was not answered, and then the last page is undefined. `prefix` begins the names, as the server has them. */
export async function* keysThatBegin(
  client: Redis | Cluster,
  prefix: string,
  ask: <T>(whom: string, question: () => Promise<T>) => Promise<T | undefined>,
): AsyncGenerator<string[] | undefined> {
  if ('nodes' in client) {
    const slot = slotOf(prefix);
    const owner = client.slots[slot]?.[0];
    const isOwner = (node: Redis) => nameOf(node) === owner;
    const masters = client.nodes('master');
    // Nobody to ask for what the owner has: an empty list would say that there is nothing.
    if (!masters.some(isOwner)) yield undefined;
    // A slot that is on its way lies on two. Keys go one way, from its owner: whoever is asked after it has what left it.
    for (const asked of [masters.filter(isOwner), masters.filter((node) => !isOwner(node))]) {
      const lists = await Promise.all(
        asked.map((node) => ask(nameOf(node), () => node.cluster('GETKEYSINSLOT', slot, ALL))),
      );
      for (const names of lists) yield names?.filter((name) => name.startsWith(prefix));
    }
    return;
  }
  const pattern = `${escapeGlob(prefix)}*`;
  let cursor = '0';
  do {
    const page = await ask(ANYBODY, () => client.scan(cursor, 'MATCH', pattern, 'COUNT', 1000));
    yield page?.[1];
    cursor = page?.[0] ?? '0';
  } while (cursor !== '0');
}

function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]]/g, '\\$&');
}
