/**
 * The shared tier: trusted for bytes, never for freshness (the caller asks Coherence whether an entry counts). Optional
 * at every moment: a read costs at most `timeoutMs`, then a breaker opens and costs nothing until a trial succeeds; no
 * method here throws. Bytes that fail a check are dropped and reported, never returned.
 */
import { randomBytes } from 'node:crypto';
import { BrokenCircuitError, type CircuitBreakerPolicy } from 'cockatiel';
import type { Cluster, Redis } from 'ioredis';
import type { Key } from '../coherence/key.js';
import { DeadlineError, within } from '../deadline.js';
import { type BreakerOptions, type OutageEvents, outageBreaker } from './breaker.js';
import type { Entry } from './entry.js';
import { decodeEntry, encodeEntry, fillToken, HEADER_BYTES, isFillToken } from './redis-entry.js';
import { CLEAR, DROP, FILL, RESTAMP, WRITE } from './redis-scripts.js';

/** Part of every key: nodes that know another layout keep to other keys, so old and new run side by side. */
export const FORMAT = 'v1';

/** How long the reader who found nothing may take to ask Postgres and fill. */
const FILL_TOKEN_MS = 3000;

/** The answer of one read. */
export interface RedisAnswer {
  readonly entry: Entry | undefined;
  /** First bytes of what stands under the key, over which alone a fill may go. Undefined: do not fill. */
  readonly seen: Buffer | undefined;
}

export interface RedisTierEvents extends OutageEvents {
  corrupt(key: Key, reason: string): void;
}

/** ioredis replies with Buffers to commands that end in Buffer; scripts are commands it learns by defineCommand. */
interface Scripts {
  loraFill(key: string, seen: Buffer, value: Buffer, ttlMs: number): Promise<number>;
  loraRestamp(key: string, seen: Buffer, header: Buffer): Promise<number>;
  loraWrite(key: string, revision: number, value: Buffer, ttlMs: number): Promise<number>;
  loraClear(key: string, revision: number): Promise<number>;
  loraDrop(key: string, seen: Buffer): Promise<number>;
}

/** The first silence opens it; an answer that is an error costs one round trip, and needs no breaker. */
const BREAKER: BreakerOptions = {
  isOutage: (error) => error.name !== 'ReplyError',
  saysNothing: () => false,
  failures: 1,
  firstPauseMs: 250,
  longestPauseMs: 5000,
};

const NOTHING: RedisAnswer = { entry: undefined, seen: undefined };

export class RedisTier {
  readonly #client: Redis | Cluster;
  readonly #scripts: Scripts;
  readonly #events: RedisTierEvents;
  readonly #prefix: string;
  readonly #timeoutMs: number;
  readonly #ttlMs: number;
  readonly #breaker: CircuitBreakerPolicy;

  /** Loads answered from here, and those that were not. */
  hits = 0;
  misses = 0;
  /** Calls that failed, and among them those whose time ran out. */
  errors = 0;
  timeouts = 0;
  /** Writes refused because something newer, or something unexpected, stood there. */
  fenced = 0;
  /** Values dropped because a check failed. */
  corrupt = 0;

  constructor(
    client: Redis | Cluster,
    options: { namespace: string; timeoutMs: number; ttlMs: number },
    events: RedisTierEvents,
  ) {
    this.#client = client;
    this.#prefix = `${options.namespace}:${FORMAT}:`;
    this.#timeoutMs = options.timeoutMs;
    this.#ttlMs = options.ttlMs;
    this.#events = events;
    for (const [name, lua] of Object.entries({
      Fill: FILL,
      Restamp: RESTAMP,
      Write: WRITE,
      Clear: CLEAR,
      Drop: DROP,
    })) {
      client.defineCommand(`lora${name}`, { numberOfKeys: 1, lua });
    }
    this.#scripts = client as unknown as Scripts;
    this.#breaker = outageBreaker(BREAKER, events);
  }

  /** The braces keep all of a user's adapters in one slot of a cluster. */
  redisKey(key: Key): string {
    return `${this.#prefix}{${key.userId}}:${key.adapterName}`;
  }

  async read(key: Key): Promise<RedisAnswer> {
    const value = await this.#try(() => this.#client.getBuffer(this.redisKey(key)).catch(wrongTypeIsGarbage));
    return value === undefined ? NOTHING : this.#examine(key, value);
  }

  /**
   * read() and claim() of many in one round trip: asked for together, since a token where an entry stands changes nothing.
   * result[i] answers keys[i].
   */
  async readMany(keys: readonly Key[]): Promise<RedisAnswer[]> {
    if (keys.length === 0) return [];
    const tokens = keys.map(() => fillToken(randomBytes(16)));
    const replies = await this.#try(() => this.#getMany(keys, tokens));
    if (replies === undefined) return keys.map(() => NOTHING);
    return await Promise.all(
      keys.map(async (key, i) => {
        const value = replies.values[i] ?? null;
        const placed = replies.placed[i] === true;
        // MGET says of a key of another type that there is nothing, and no token takes its place: GET says what it is.
        if (value === null && !placed) return await this.read(key);
        const answer = await this.#examine(key, value);
        return { entry: answer.entry, seen: answer.seen ?? (placed ? tokens[i] : undefined) };
      }),
    );
  }

  /** Leaves a token where nothing was, before Postgres is read. Returns it if it stands: a fill may go over it. */
  async claim(key: Key): Promise<Buffer | undefined> {
    const token = fillToken(randomBytes(16));
    const placed = await this.#try(() => this.#client.set(this.redisKey(key), token, 'PX', FILL_TOKEN_MS, 'NX'));
    return placed === 'OK' ? token : undefined;
  }

  /** After a load from Postgres: keeps `entry` if what was `seen` before that load still stands. */
  async fill(key: Key, seen: Buffer, entry: Entry): Promise<void> {
    await this.#fenced(() => this.#scripts.loraFill(this.redisKey(key), seen, encodeEntry(key, entry), this.#ttl()));
  }

  /** After a load found the entry that was `seen` to be the latest still. */
  async restamp(key: Key, seen: Buffer, entry: Entry): Promise<void> {
    const header = encodeEntry(key, entry).subarray(0, HEADER_BYTES);
    await this.#fenced(() => this.#scripts.loraRestamp(this.redisKey(key), seen, header));
  }

  /** After a save: keeps `entry` unless something newer stands there. False: Redis did not answer. */
  async write(key: Key, entry: Entry): Promise<boolean> {
    const value = encodeEntry(key, entry);
    return await this.#fenced(() => this.#scripts.loraWrite(this.redisKey(key), entry.revision, value, this.#ttl()));
  }

  /** The adapter is at `revision` now: removes what is older. False: Redis did not answer. */
  async clear(key: Key, revision: number): Promise<boolean> {
    return (await this.#try(() => this.#scripts.loraClear(this.redisKey(key), revision))) !== undefined;
  }

  /** Removes everything kept of a user, names this process never heard of included. False: it did not answer throughout. */
  async forgetUser(userId: string): Promise<boolean> {
    // ioredis puts the prefix of a caller's client before the keys of commands, but not into a pattern or what it finds.
    const { keyPrefix = '' } = this.#client.options;
    const pattern = `${escapeGlob(`${keyPrefix}${this.#prefix}{${userId}}:`)}*`;
    for (const node of 'nodes' in this.#client ? this.#client.nodes('master') : [this.#client]) {
      let cursor = '0';
      do {
        const page = await this.#try(() => node.scan(cursor, 'MATCH', pattern, 'COUNT', 1000));
        if (page === undefined) return false;
        cursor = page[0];
        const names = page[1].map((name) => name.slice(keyPrefix.length));
        if (names.length > 0 && (await this.#try(() => this.#client.unlink(names))) === undefined) return false;
      } while (cursor !== '0');
    }
    return true;
  }

  /** Rejects when Redis does not answer. */
  async ping(): Promise<void> {
    await within(this.#client.ping(), this.#timeoutMs, 'Redis');
  }

  async #examine(key: Key, value: Buffer | null): Promise<RedisAnswer> {
    if (value === null || isFillToken(value)) {
      this.misses++;
      // Another reader's token serves as well: whoever clears the key removes it, and then neither fill succeeds.
      return { entry: undefined, seen: value ?? undefined };
    }
    const seen = Buffer.from(value.subarray(0, HEADER_BYTES));
    try {
      return { entry: decodeEntry(key, value), seen };
    } catch (error) {
      this.misses++;
      this.corrupt++;
      this.#events.corrupt(key, error instanceof Error && 'reason' in error ? String(error.reason) : String(error));
      await this.#try(() => this.#scripts.loraDrop(this.redisKey(key), seen));
      return NOTHING;
    }
  }

  async #getMany(
    keys: readonly Key[],
    tokens: readonly Buffer[],
  ): Promise<{ values: readonly (Buffer | null)[]; placed: readonly boolean[] }> {
    const names = keys.map((key) => this.redisKey(key));
    if ('nodes' in this.#client) {
      // A pipeline of a cluster must not cross its nodes.
      const cluster = this.#client;
      const [values, claims] = await Promise.all([
        Promise.all(names.map((name) => cluster.getBuffer(name).catch(wrongTypeIsGarbage))),
        Promise.all(names.map((name, i) => cluster.set(name, tokens[i] as Buffer, 'PX', FILL_TOKEN_MS, 'NX'))),
      ]);
      return { values, placed: claims.map((reply) => reply === 'OK') };
    }
    const pipeline = this.#client.pipeline().mgetBuffer(names);
    for (const [i, name] of names.entries()) pipeline.set(name, tokens[i] as Buffer, 'PX', FILL_TOKEN_MS, 'NX');
    const [read, ...claims] = (await pipeline.exec()) ?? [];
    if (read === undefined || read[0]) throw read?.[0] ?? new Error('Redis gave no answer');
    return { values: read[1] as (Buffer | null)[], placed: claims.map(([, reply]) => reply === 'OK') };
  }

  /** Whether Redis answered; that it refused is counted. */
  async #fenced(script: () => Promise<number>): Promise<boolean> {
    const reply = await this.#try(script);
    if (reply === 0) this.fenced++;
    return reply !== undefined;
  }

  /** The call's result, or undefined after a failure that was counted. */
  async #try<T>(call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#breaker.execute(() => within(call(), this.#timeoutMs, 'Redis'));
    } catch (error) {
      // Nothing was asked: the breaker is open. Asking it is also what lets it try again.
      if (error instanceof BrokenCircuitError) return undefined;
      this.errors++;
      if (error instanceof DeadlineError) this.timeouts++;
      return undefined;
    }
  }

  #ttl(): number {
    return Math.round(this.#ttlMs * (0.9 + 0.2 * Math.random()));
  }
}

/** A key that holds no string is dropped like any other value that is no entry; the scripts see it as '?' too. */
function wrongTypeIsGarbage(error: Error): Buffer {
  if (error.message.startsWith('WRONGTYPE')) return Buffer.from('?');
  throw error;
}

function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]]/g, '\\$&');
}
