/**
 * A load that memory could not answer: asks Redis, then Postgres (only for the head where a cached body may still be the
 * latest), as the steps of coherence/load.ts say, and leaves what it found in the tiers above, behind their fences. One key
 * or many: the questions of many go out together, and each ends for itself.
 */
import type { Coherence } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
import { type AskPostgres, type Held, LoadSteps, type Serve } from '../coherence/load.js';
import { AdapterCorruptError, StorageOverloadedError, StorageUnavailableError } from '../errors.js';
import type { Entry } from '../tiers/entry.js';
import type { MemoryTier } from '../tiers/memory.js';
import type { PostgresTier } from '../tiers/postgres.js';
import type { RedisTier } from '../tiers/redis.js';
import type { Replicas } from '../tiers/replicas.js';
import { type Asking, askRedis, askRedisForMany, asksPostgres, type Begun, type Loaded, type Steps } from './begun.js';
import { Confirming } from './confirming.js';
import type { Events } from './events.js';
import { withoutDisplacing, withoutRounded } from './memory-views.js';
import type { Tasks } from './tasks.js';

export interface FetchParts {
  readonly coherence: Coherence;
  readonly memory: MemoryTier | undefined;
  readonly redis: RedisTier | undefined;
  readonly postgres: PostgresTier;
  /** Asked before the primary. */
  readonly replicas: Replicas | undefined;
  readonly events: Events;
  readonly tasks: Tasks;
  /** What is remembered of revisions was dropped: the ear has to note a new horizon. */
  readonly renewHorizon: () => void;
  /** Of all nodes that find nothing in Redis one asks Postgres. */
  readonly fillLease: boolean;
  readonly maxStalenessMs: number;
  readonly staleIfErrorMs: number;
}

/** exact: not from a copy whose weights were rounded, so not from Redis. warming: memory pushes nothing out for it. */
export type Manner = 'usual' | 'exact' | 'warming';

export class Fetcher {
  readonly #parts: FetchParts;
  readonly #memory: Readonly<Record<Manner, Held<Entry> | undefined>>;
  readonly #detach: (key: Key) => void;
  readonly #confirming: Confirming;

  /** detach: loads under way of this key answer only those who wait already. */
  constructor(parts: FetchParts, detach: (key: Key) => void) {
    this.#parts = parts;
    const { memory } = parts;
    this.#memory = {
      usual: memory,
      exact: memory && withoutRounded(memory),
      warming: memory && withoutDisplacing(memory),
    };
    this.#detach = detach;
    this.#confirming = new Confirming(parts.postgres, parts.tasks, (asked, entry) => this.#confirmed(asked, entry));
  }

  async one(key: Key, manner: Manner = 'usual'): Promise<Loaded> {
    const steps = this.#steps(key, manner);
    const begun: Begun = { key, steps, next: steps.begin(performance.now()) };
    if (this.#parts.redis !== undefined) await askRedis(begun, this.#parts.redis, this.#parts.fillLease);
    if (!asksPostgres(begun)) return this.#fromRedis(key, begun.next as Serve<Entry, Buffer>);
    if (this.#parts.replicas !== undefined) {
      await this.#askReplica([begun], this.#parts.replicas);
      if (begun.replicated !== undefined) return begun.replicated;
    }
    return await this.#landed(begun, this.#parts.postgres.load(key, begun.next.held, begun.next.asked), () =>
      this.#shown([key]),
    );
  }

  /** A fetch for each, whose questions go out together. Each ends for itself: what Redis has does not wait for Postgres. */
  many(keys: readonly Key[], manner: Manner = 'usual'): Promise<Loaded>[] {
    if (keys.length === 0) return [];
    const { replicas } = this.#parts;
    const begun = this.#begin(keys, manner);
    const replicated = replicas && begun.then((all) => this.#askReplica(all.filter(asksPostgres), replicas));
    const answers = begun.then(async (all) => {
      await replicated;
      return await this.#askPostgres(all);
    });
    let instead: Promise<ReadonlyMap<string, Entry>> | undefined;
    const askInstead = () => {
      instead ??= begun.then((all) => this.#shown(all.filter(asksPostgres).map(({ key }) => key)));
      return instead;
    };
    const fetches = keys.map(async (key, i) => {
      const one = (await begun)[i] as Begun;
      if (!asksPostgres(one)) return this.#fromRedis(key, one.next as Serve<Entry, Buffer>);
      await replicated;
      if (one.replicated !== undefined) return one.replicated;
      return await this.#landed(
        one,
        answers.then((found) => found.get(key.id) as Entry | AdapterCorruptError),
        askInstead,
      );
    });
    // The first that fails ends the call, and the others go on.
    this.#parts.tasks.track(Promise.allSettled([replicated, answers, ...fetches]));
    return fetches;
  }

  /** Each as far as its answer in Redis. */
  async #begin(keys: readonly Key[], manner: Manner): Promise<Begun[]> {
    const { redis, fillLease } = this.#parts;
    const now = performance.now();
    const begun = keys.map((key): Begun => {
      const steps = this.#steps(key, manner);
      return { key, steps, next: steps.begin(now) };
    });
    if (redis !== undefined) await askRedisForMany(begun, redis, fillLease);
    return begun;
  }

  /** A replica is asked first, for all that ask Postgres; whom it does not satisfy go on to the primary, with its body perhaps. */
  async #askReplica(asking: readonly Asking[], replicas: Replicas): Promise<void> {
    const replica = asking.length === 0 ? undefined : replicas.next();
    if (replica === undefined) return;
    const answers = await replica.load(
      asking.map(({ key }) => key),
      asking.map(({ next }) => next.held),
    );
    for (const [i, one] of asking.entries()) {
      const entry = answers[i];
      if (entry === undefined) continue;
      const next = one.steps.replicaAnswered(entry, performance.now());
      if (next.do === 'serve') {
        one.replicated = this.#arrived(one.key, one.next, next);
      } else {
        one.next = next;
        replica.refuse();
      }
    }
    if (this.#parts.redis !== undefined)
      this.#confirming.add(asking.filter(({ replicated }) => replicated !== undefined));
  }

  /** The primary's word for what a replica answered; without one, Redis goes without. */
  #confirmed({ key, steps, token }: Asking, entry: Entry | undefined): void {
    const served = entry && steps.postgresAnswered(entry, performance.now());
    if (served !== undefined) this.#serving(key, served);
    this.#leave(key, served, token);
  }

  /** The Postgres half: what it answers to those that ask, by key. */
  async #askPostgres(begun: readonly Begun[]): Promise<Map<string, Entry | AdapterCorruptError>> {
    const asking = begun.filter(asksPostgres).filter(({ replicated }) => replicated === undefined);
    const [first] = asking;
    if (first === undefined) return new Map();
    const keys = asking.map(({ key }) => key);
    const held = asking.map(({ next }) => next.held);
    const entries = await this.#parts.postgres.loadMany(keys, held, first.next.asked);
    return new Map(keys.map((key, i) => [key.id, entries[i] as Entry | AdapterCorruptError]));
  }

  /** The end of a fetch: what Postgres answers, or what is held while it cannot be asked, or `instead`, by key. */
  async #landed(
    asking: Asking,
    answer: Promise<Entry | AdapterCorruptError>,
    instead: () => Promise<ReadonlyMap<string, Entry>>,
  ): Promise<Loaded> {
    const { key, steps, next, token } = asking;
    try {
      const entry = await answer;
      if (entry instanceof AdapterCorruptError) throw entry;
      const served = this.#arrived(key, next, steps.postgresAnswered(entry, performance.now()));
      this.#leave(key, served, token);
      return served;
    } catch (error) {
      this.#leave(key, undefined, token);
      if (cannotAsk(error)) {
        const held = steps.postgresUnavailable(performance.now()) ?? this.#judged(asking, await instead());
        if (held !== undefined) return held;
      }
      if (error instanceof AdapterCorruptError) this.#corrupt(key, error);
      throw error;
    }
  }

  async #shown(keys: readonly Key[]): Promise<ReadonlyMap<string, Entry>> {
    return (await this.#parts.replicas?.shown(keys)) ?? new Map();
  }

  /** What a replica shows may be served for as long as a copy could be. */
  #judged({ key, steps, next }: Asking, shown: ReadonlyMap<string, Entry>): Loaded | undefined {
    const entry = shown.get(key.id);
    if (entry === undefined) return undefined;
    const then = steps.replicaAnswered(entry, performance.now());
    return then.do === 'serve' ? this.#arrived(key, next, then) : steps.postgresUnavailable(performance.now());
  }

  #steps(key: Key, manner: Manner): Steps {
    const { coherence, redis, maxStalenessMs, staleIfErrorMs } = this.#parts;
    const asksRedis = redis !== undefined && manner !== 'exact';
    return new LoadSteps(key, coherence, this.#memory[manner], { redis: asksRedis, maxStalenessMs, staleIfErrorMs });
  }

  #fromRedis(key: Key, served: Serve<Entry, Buffer>): Loaded {
    this.#serving(key, served);
    if (this.#parts.redis !== undefined) this.#parts.redis.hits++;
    return served;
  }

  /** Postgres or a replica answered: counts whether what Redis held was of use. */
  #arrived(key: Key, asking: AskPostgres<Entry>, served: Serve<Entry, Buffer>): Serve<Entry, Buffer> {
    const { redis } = this.#parts;
    if (redis !== undefined && asking.tier === 'redis') {
      if (served.tier === 'redis') redis.hits++;
      else if (asking.held !== undefined) redis.misses++;
    }
    this.#serving(key, served);
    return served;
  }

  /** Leaves in Redis what the steps say. Where that is nothing, nobody is left to wait for it at the token of this load. */
  #leave(key: Key, served: Serve<Entry, Buffer> | undefined, token: Buffer | undefined): void {
    const { redis, tasks } = this.#parts;
    if (redis === undefined) return;
    const { entry, leave } = served ?? {};
    if (entry !== undefined && leave !== undefined) {
      tasks.track(leave.how === 'restamp' ? redis.restamp(key, leave.seen, entry) : redis.fill(key, leave.seen, entry));
    } else if (token !== undefined) {
      tasks.track(redis.release(key, token));
    }
  }

  /** Nobody who comes later may be given something older. */
  #serving(key: Key, { news }: Serve<Entry, Buffer>): void {
    if (news === undefined) return;
    this.#detach(key);
    if (news.renew) this.#parts.renewHorizon();
  }

  #corrupt(key: Key, error: AdapterCorruptError): void {
    const { userId, adapterName } = key;
    this.#parts.events.emit('corrupt', { userId, adapterName, tier: 'postgres', reason: error.reason });
  }
}

/** Postgres did not answer, or this node has too many calls waiting to ask it one more. */
function cannotAsk(error: unknown): boolean {
  return error instanceof StorageUnavailableError || error instanceof StorageOverloadedError;
}
