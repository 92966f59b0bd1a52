/**
 * When two states are the same: times count by their order, and by whether a lease has passed since, the two nodes may change places,
 * and nothing that no step looks at counts.
 */
import { type Body, KEY, LEASE, type Node, type World } from './world.js';

const texts = new WeakMap<Node, string>();

/** 53 bits of a hash: with a million states, one in twenty thousand walks takes two of them for one. */
export function digest(world: World): number {
  const { pg, redis, copy } = world;
  const [a, b] = world.nodes.map(textOf) as [string, string];
  const shared = [
    pg.revision,
    pg.version,
    pg.versions.length,
    pg.active.join(),
    pg.nextXid,
    pg.lastDone,
    redis?.seen,
    copy ? `c${copy.value?.seen}` : '',
    world.loads,
    world.writes,
    world.faults,
    world.cleared,
    world.told,
  ].join('|');
  return hash(a < b ? `${shared}#${a}#${b}` : `${shared}#${b}#${a}`);
}

function textOf(node: Node): string {
  let text = texts.get(node);
  if (text === undefined) {
    text = describe(node);
    texts.set(node, text);
  }
  return text;
}

function describe(node: Node): string {
  const { known, memory, now } = node;
  const doubt = known.doubts.get(KEY.id);
  const moments: number[] = [known.provenAt];
  if (doubt !== undefined) moments.push(doubt);
  if (known.past !== undefined) moments.push(known.past.until);
  if (memory !== undefined) moments.push(memory.verifiedAt);
  for (const { state, answer } of node.flights) {
    if (state.asking !== undefined) moments.push(state.asking.asked.verifiedAt, state.asking.held?.verifiedAt ?? 0);
    if (answer !== undefined) moments.push(answer.verifiedAt);
  }
  for (const { asked } of node.writes) moments.push(asked.verifiedAt);
  const order = [...new Set(moments)].sort((a, b) => a - b);

  const time = (value: number | undefined) => (value === undefined ? '-' : order.indexOf(value));
  const era = (value: number) => (value === 0 ? 0 : value === known.era ? 'c' : value === known.past?.era ? 'p' : 'x');
  const body = (entry: Body | undefined) =>
    entry &&
    `${entry.revision},${entry.version},${entry.server},${entry.xid},${era(entry.era)},${time(entry.verifiedAt)}`;
  /** Whether what was begun then is younger than a lease. */
  const fresh = (value: number) => now - value < LEASE;

  let text = `${known.floors.get(KEY.id)},${known.horizon?.xid},${known.past?.xid},${time(known.past?.until)}`;
  text += `,${time(known.provenAt)},${fresh(known.provenAt)},${time(doubt)},${body(memory)}`;
  text += `,${known.shown.get(KEY.id)},${known.shownBefore.get(KEY.id)},${fresh(known.shownSince)}`;
  text += `,${node.unconfirmed},${node.listening},${node.heard},${node.expired},${node.unanswered}`;
  for (const { at, least, detached, begunAt, state, answer } of node.flights) {
    const { found, asking } = state;
    text += `F${at},${least},${detached},${detached || fresh(begunAt)},${found?.seen},${found?.entry?.revision}`;
    if (answer !== undefined) text += `,${body(answer)},${asking?.held?.revision},${asking?.tier}`;
    else if (asking !== undefined) {
      text += `,${asking.held?.revision},${asking.tier},${era(asking.asked.era)},${time(asking.asked.verifiedAt)}`;
    }
  }
  for (const { how, seen, entry } of node.fills) text += `L${how},${seen},${entry.revision},${entry.xid}`;
  for (const { operation, xid, asked, head, at } of node.writes) {
    text += `W${operation},${xid},${head?.revision},${head?.version},${at},${era(asked.era)},${time(asked.verifiedAt)}`;
  }
  for (const { revision, confirms, left } of node.inbox) text += `M${revision},${confirms},${left}`;
  for (const word of node.stream) {
    if (word.is === 'head') text += `H${word.revision}`;
    else if (word.is === 'beat') text += `B${fresh(word.sentAt)}`;
    else text += `Z${word.xid},${era(word.era)},${fresh(word.sentAt)}`;
  }
  return text;
}

function hash(text: string): number {
  let high = 0x9e3779b9;
  let low = 0x85ebca6b;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low ^ code, 0x5bd1e995);
    low ^= low >>> 15;
  }
  return (high >>> 11) * 0x100000000 + (low >>> 0);
}
