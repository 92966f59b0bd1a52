/**
 * Steps of loads: what an answer shows and its arrival are steps of their own, so that anything may come between. Two are
 * one where nothing between could tell: a load begins when Redis looks for it, and leaves its token when it hears of nothing.
 */

import type { Serve } from '../../../src/coherence/load.js';
import type { Moves } from './moves.js';
import type { Actor } from './node.js';
import { FIRST, type Postgres, xmin } from './postgres-model.js';
import { type Scripts, tokenValue } from './redis-model.js';
import type { Rules } from './rules.js';
import { type Body, type Fill, type Flight, LEASE, type Node, SERVER, type World } from './world.js';

export const loads: Moves = (world, i, act, { rules, reduced = true, evicts = false }) => {
  const node = world.nodes[i];
  const asksPrimary = (flight: Flight, pg: Postgres) => {
    if (reduced) reads(flight, pg);
    else flight.at = 'asked';
  };
  const asked = (flight: Flight, pg: Postgres) => {
    if (rules.replica) flight.at = 'asks replica';
    else asksPrimary(flight, pg);
  };
  if (i === 0 && rules.replica && world.replica !== world.pg) {
    act(
      () => `(the standby replays r${world.pg.revision})`,
      (next) => {
        next.replica = next.pg;
      },
    );
  }
  const counts = node.memory !== undefined && rules.coherence(node.known).counts(node.memory, node.now + 1);
  if (world.loads > 0 && !counts) {
    act(
      () => 'a load begins',
      (next, actor) => {
        const { node } = actor;
        next.loads--;
        const due = Math.max(node.heard, node.expired);
        const least = Math.max(due, node.unanswered, node.given);
        const open = node.flights.find(({ detached, begunAt }) => !detached && rules.joins(begunAt, node.now));
        if (open !== undefined) {
          open.least = Math.max(open.least, least);
          open.due = Math.max(open.due, due);
          return;
        }
        const state = { found: undefined, asking: undefined };
        const flight: Flight = {
          state,
          at: 'got',
          answer: undefined,
          shown: undefined,
          least,
          due,
          begunAt: node.now,
          detached: false,
        };
        if (actor.steps(flight).begin(node.now).do === 'ask postgres') asked(flight, next.pg);
        else flight.state.found = { entry: next.redis?.entry, seen: next.redis?.seen };
        node.flights.push(flight);
      },
      node.memory === undefined,
    );
  }
  for (const [k, { at, state }] of node.flights.entries()) {
    if (at === 'got') {
      act(
        () => `load ${k} has the answer of Redis`,
        (next, actor, { scripts }) => {
          const flight = actor.node.flights[k] as Flight;
          const { state } = flight;
          const then = actor
            .steps(flight)
            .redisAnswered(state.found ?? { entry: undefined, seen: undefined }, actor.node.now);
          if (then.do === 'serve') return served(actor, k, then, actor.node.heard);
          if (then.do === 'claim') leaveToken(next, actor, flight, scripts);
          asked(flight, next.pg);
          return undefined;
        },
        state.found?.seen === undefined,
      );
    } else if (at === 'asks replica') {
      act(
        () => `the standby reads r${world.replica.revision} for load ${k}`,
        ({ replica }, { node }) => {
          const flight = node.flights[k] as Flight;
          flight.shown = replica;
          flight.at = 'replicated';
        },
      );
    } else if (at === 'replicated') {
      act(
        () => `load ${k} has the answer of the standby`,
        (next, actor) => {
          const flight = actor.node.flights[k] as Flight;
          const then = actor.steps(flight).replicaAnswered(shownTo(actor, rules, flight.shown), actor.node.now);
          flight.shown = undefined;
          if (then.do === 'ask postgres') return asksPrimary(flight, next.pg);
          const asking = actor.steps(flight).settle(then.entry, actor.node.now);
          const broken = served(actor, k, then, actor.node.heard);
          if (asking !== undefined) {
            // Nobody waits for it, and nobody joins it.
            const settling: Flight = { ...flight, answer: undefined, least: 0, due: 0, detached: true };
            asksPrimary(settling, next.pg);
            actor.node.flights.push(settling);
          }
          return broken;
        },
      );
    } else if (at === 'asked') {
      act(
        () => `Postgres reads r${world.pg.revision} for load ${k}`,
        ({ pg }, { node }) => reads(node.flights[k] as Flight, pg),
      );
    } else {
      act(
        () => `load ${k} has the answer of Postgres`,
        (_, actor) => {
          const flight = actor.node.flights[k] as Flight;
          const then = actor.steps(flight).postgresAnswered(flight.answer as Body, actor.node.now);
          if (then.leave !== undefined) actor.node.fills.push({ ...then.leave, entry: then.entry });
          return served(actor, k, then, 0);
        },
      );
      if (rules.staleIfErrorMs > 0) {
        act(
          () => `load ${k} has no answer of Postgres`,
          ({ replica }, actor) => {
            const [flight] = actor.node.flights.splice(k, 1) as [Flight];
            const steps = actor.steps(flight);
            const then = steps.postgresUnavailable(actor.node.now);
            if (then !== undefined) return servedStale(flight, then.entry);
            if (!rules.replica) return undefined;
            // In one step: what comes between makes it older, and that comes before it as well.
            const shown = steps.replicaAnswered(shownTo(actor, rules, replica), actor.node.now);
            const instead = shown.do === 'serve' ? shown : steps.postgresUnavailable(actor.node.now);
            return instead && servedStale(flight, instead.entry);
          },
        );
      }
    }
  }
  if (evicts && node.memory !== undefined) {
    act(
      () => 'memory needs the room for others',
      (_, { node }) => {
        node.memory = undefined;
      },
    );
  }
  if (evicts && shows(node)) {
    act(
      () => 'others are loaded, and what was shown is remembered for one more lease at most',
      (_, { node, coherence }) => coherence.show('another', 1, node.now),
    );
  }
  for (const [k, { how, entry }] of node.fills.entries()) {
    act(
      () => `a ${how} with r${entry.revision} reaches Redis`,
      (next, { node }, { scripts }) => {
        const [{ seen }] = node.fills.splice(k, 1) as [Fill];
        next.redis = scripts[how](next.redis, seen, entry);
      },
      true,
    );
  }
};

/** Whether something shown is remembered that the next key shown may push out. */
function shows({ known, now }: Node): boolean {
  const { shown, shownBefore, shownSince } = known;
  return shown.size + shownBefore.size > 0 && now - shownSince >= LEASE;
}

/** Postgres is asked, and reads at once, unless a commit comes first: then it reads again. */
export function reads(flight: Flight, pg: Postgres): void {
  const { verifiedAt = 0, era = 0 } = flight.state.asking?.asked ?? {};
  flight.answer = { revision: pg.revision, version: pg.version, server: SERVER, xid: xmin(pg), verifiedAt, era };
  flight.at = 'read';
}

/** The answer of a standby as it is taken when it arrives: of its transaction ids nothing is believed. */
export function shownTo({ node, coherence }: Pick<Actor, 'node' | 'coherence'>, rules: Rules, shown = FIRST): Body {
  const { revision, version } = shown;
  const when = rules.replica ? rules.replica(node, coherence, shown) : { verifiedAt: 0, era: 0 };
  return { revision, version, server: SERVER, xid: 0, ...when };
}

/** The flight ends; what is wrong with its answer, if anything. */
function served(actor: Actor, k: number, { entry, news }: Serve<Body, string>, least: number): string | undefined {
  const [flight] = actor.node.flights.splice(k, 1) as [Flight];
  if (news !== undefined) actor.detach();
  const expected = Math.max(flight.least, least);
  actor.node.given = Math.max(actor.node.given, entry.revision);
  if (entry.revision >= expected) return undefined;
  return `a load was answered with r${entry.revision}, though r${expected} was heard of, given before or long committed when it was asked`;
}

/** Flagged stale, it may be behind what was given before, but not behind what was heard or long committed when it was asked. */
function servedStale({ due }: Flight, { revision }: Body): string | undefined {
  if (revision >= due) return undefined;
  return `a load was answered with r${revision}, stale, though r${due} was heard of or long committed when it was asked`;
}

/** Nothing stood there: a token is left, and Postgres is asked whether or not it was the first. */
function leaveToken(next: World, actor: Actor, flight: Flight, { claim }: Scripts): void {
  const token = freshToken(next);
  const { seen } = tokenValue(token);
  next.redis = claim(next.redis, token);
  actor.steps(flight).claimed(next.redis.seen === seen ? seen : undefined, actor.node.now);
}

/** The smallest number that no token under way has. */
function freshToken({ redis, copy, nodes }: World): number {
  const used = new Set([redis?.seen, copy?.value?.seen]);
  for (const { flights, fills } of nodes) {
    for (const { state } of flights) used.add(state.found?.seen);
    for (const { seen } of fills) used.add(seen);
  }
  let token = 1;
  while (used.has(tokenValue(token).seen)) token++;
  return token;
}
