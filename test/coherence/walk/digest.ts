/**
 * When two states are the same. What no step and no promise looks at any more does not count: of times only their order,
 * and whether a lease has passed since; of what a node must not go below, the highest and how it may be forgotten; and
 * neither the order of what arrives in any order nor which of the two nodes is A.
 */
import { type Mark, Mixer } from './marks.js';
import { OPERATIONS, type Postgres } from './postgres-model.js';
import type { Rules } from './rules.js';
import { type Flight, KEY, LEASE, type Node, type World, type Write } from './world.js';

export function digest(world: World, rules: Rules): Mark {
  const { pg, redis, copy } = world;
  const mix = new Mixer();
  for (const value of [pg.revision, pg.version, pg.versions.length, pg.nextXid, pg.lastDone]) mix.add(value);
  for (const xid of pg.active) mix.add(100 + xid);
  if (rules.replica) mix.add(world.replica.revision);
  mix.add(numberOf(redis?.seen));
  mix.add(copy === undefined ? -2 : numberOf(copy.value?.seen));
  for (const value of [world.loads, world.writes, world.faults, world.cleared, world.told]) mix.add(value);
  const nodes = world.nodes.map((node) => {
    const { a, b } = markOf(node, rules);
    return [a, b, ...(rules.replica ? reached(node, world.replica) : [])];
  }) as [number[], number[]];
  const [one, two] = nodes;
  const first = one.findIndex((value, i) => value !== two[i]);
  for (const values of (one[first] ?? 0) > (two[first] ?? 0) ? [two, one] : [one, two]) {
    for (const value of values) mix.add(value);
  }
  return mix.mark();
}

function markOf(node: Node, rules: Rules): Mark {
  node.mark ??= describe(node, rules);
  return node.mark;
}

/** Which of the marks that this node has left a standby shows: of marks nothing else is looked at. */
function reached({ known, stream }: Node, { mark }: Postgres): number[] {
  const words = stream.flatMap((word) => (word.is === 'horizon' ? [word.mark] : []));
  return [known.horizon?.mark, known.past?.mark, ...words].map((left) => Number(left !== undefined && mark >= left));
}

const numbers = new Map<string, number>();

/** What stands in Redis by a number. */
function numberOf(seen: string | undefined): number {
  if (seen === undefined) return -1;
  let number = numbers.get(seen);
  if (number === undefined) {
    number = numbers.size;
    numbers.set(seen, number);
  }
  return number;
}

/** Not a number that anything has. */
const NONE = -99;

function describe(node: Node, rules: Rules): Mark {
  const { known, memory } = node;
  const { provenAt, horizon } = known;
  const view = viewOf(node, rules);
  const mix = new Mixer();
  const floor = known.floors.get(KEY.id) ?? 0;
  const shown = Math.max(known.shown.get(KEY.id) ?? 0, floor);
  const before = Math.max(known.shownBefore.get(KEY.id) ?? 0, shown);
  for (const value of [floor, shown, before, before > floor ? view.fresh(known.shownSince) : 0]) mix.add(value);
  mix.add(horizon?.xid ?? NONE);
  if (horizon !== undefined) mix.add(2 * view.time(provenAt) + view.fresh(provenAt));
  mix.add(known.doubts.get(KEY.id) === undefined ? 0 : 1);
  mix.add(memory?.revision ?? NONE);
  if (memory !== undefined && memory.server !== 0) {
    for (const value of [memory.xid, view.current(memory), view.time(memory.verifiedAt)]) mix.add(value);
  }
  mix.add(node.unconfirmed);
  mix.add(node.written);
  mix.add(node.listening ? 1 : 0);
  mix.add(node.heard);
  mix.add(node.expired > node.heard ? node.expired : 0);
  mix.add(node.unanswered > node.heard ? node.unanswered : 0);
  mix.add(node.given > node.heard ? node.given : 0);
  if (rules.staleIfErrorMs > 0) addPast(mix, node, view);
  for (const flight of node.flights)
    mix.addAnyhow((each) => {
      addFlight(each, flight, view, rules.staleIfErrorMs > 0);
      const { shown } = flight;
      if (shown !== undefined) for (const value of [shown.revision, ...reached(node, shown)]) each.add(value);
    });
  for (const { how, seen, entry } of node.fills) {
    mix.addAnyhow((each) =>
      [2, how === 'fill' ? 0 : 1, numberOf(seen), entry.revision, entry.xid].forEach(each.add, each),
    );
  }
  for (const write of node.writes) mix.addAnyhow((each) => addWrite(each, write, view));
  for (const { revision, confirms, left } of node.inbox)
    mix.addAnyhow((each) => [4, revision, confirms ? 1 : 0, left].forEach(each.add, each));
  for (const word of node.stream) {
    if (word.is === 'head') mix.add(word.revision);
    else if (word.is === 'many') mix.add(-2);
    else if (word.is === 'beat') mix.add(-3 - view.fresh(word.sentAt));
    else for (const value of [-5, word.xid, view.current(word), view.fresh(word.sentAt)]) mix.add(value);
  }
  return mix.mark();
}

/** How a node's times and eras are told apart. */
interface View {
  /** How many others of the moments that are compared lie before it. */
  time(value: number): number;
  /** Whether what was begun then is younger than a lease. */
  fresh(value: number): number;
  doubted(value: number): number;
  current(of: { readonly era: number }): number;
}

function viewOf({ known, memory, flights, writes, now }: Node, rules: Rules): View {
  const moments: number[] = known.horizon === undefined ? [] : [known.provenAt];
  if (memory !== undefined && memory.server !== 0) moments.push(memory.verifiedAt);
  for (const { state } of flights) if (state.asking !== undefined) moments.push(state.asking.asked.verifiedAt);
  for (const write of writes) if (bringsItsTime(write)) moments.push(write.asked.verifiedAt);
  const doubt = known.doubts.get(KEY.id) ?? Number.NEGATIVE_INFINITY;
  /** With an ear, and nothing served without Postgres, the age of a single reading says nothing. */
  const ages = !rules.feed || rules.staleIfErrorMs > 0;
  return {
    time(value) {
      let before = 0;
      for (const other of moments) if (other < value) before++;
      if (!ages) return before;
      return 4 * before + (now - value < LEASE ? 2 : 0) + (value > known.forgottenAt ? 1 : 0);
    },
    fresh: (value) => (now - value < LEASE ? 1 : 0),
    doubted: (value) => (value <= doubt ? 1 : 0),
    current: ({ era }) => (era === known.era ? 1 : 0),
  };
}

/** What tells when something held was known to be the latest, by an ear that listens no more. */
function addPast(mix: Mixer, { known, memory, flights }: Node, view: View): void {
  const { past } = known;
  for (const value of [past?.xid ?? NONE, past === undefined ? 0 : view.fresh(past.until)]) mix.add(value);
  for (const held of [memory, ...flights.map(({ state }) => state.asking?.held)]) {
    if (held === undefined) mix.add(NONE);
    else
      for (const value of [
        held.server,
        held.xid,
        view.fresh(held.verifiedAt),
        view.current(held),
        held.era === past?.era ? 1 : 0,
      ])
        mix.add(value);
  }
}

function addFlight(
  mix: Mixer,
  { at, least, due, detached, begunAt, state, answer }: Flight,
  view: View,
  stale: boolean,
): void {
  const { found, asking } = state;
  for (const value of [1, STAGES.indexOf(at), least, stale ? due : 0, detached ? 2 : view.fresh(begunAt)])
    mix.add(value);
  mix.add(numberOf(found?.seen));
  if (found?.seen !== undefined) mix.add(found.entry?.revision ?? NONE);
  if (asking === undefined) return;
  const { verifiedAt } = asking.asked;
  mix.add(answer?.revision ?? NONE);
  mix.add(answer?.xid ?? NONE);
  mix.add(asking.held?.revision ?? NONE);
  mix.add(['redis', 'memory', 'postgres'].indexOf(asking.tier));
  mix.add(view.current(asking.asked));
  mix.add(2 * view.time(verifiedAt) + view.doubted(verifiedAt));
}

/** Of a save that memory will keep; later, and of any other write, nobody asks when it was sent. */
function bringsItsTime({ operation, at }: Write): boolean {
  return operation === 'save' && (at === 'sent' || at === 'committed');
}

function addWrite(mix: Mixer, write: Write, view: View): void {
  const { operation, xid, at, asked, head } = write;
  for (const value of [3, OPERATIONS.indexOf(operation), xid, PLACES.indexOf(at)]) mix.add(value);
  mix.add(head?.revision ?? NONE);
  mix.add(head?.version ?? NONE);
  if (!bringsItsTime(write)) return;
  mix.add(view.current(asked));
  mix.add(2 * view.time(asked.verifiedAt) + view.doubted(asked.verifiedAt));
}

const STAGES: readonly Flight['at'][] = ['got', 'asks replica', 'replicated', 'asked', 'read'];
const PLACES: readonly Write['at'][] = ['sent', 'committed', 'telling', 'orphaned'];
