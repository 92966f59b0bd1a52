/**
 * The shared tier: trusted for bytes, never for freshness (the caller asks Coherence whether an entry counts). Optional
 * at every moment: a read costs at most `timeoutMs`, then a breaker opens and costs nothing until a trial succeeds; no
 * method here throws. Bytes that fail a check are dropped and reported, never returned.
 */
import { randomBytes } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import type { Key } from '../coherence/key.js';
import { within } from '../deadline.js';
import type { BreakerState, OutageEvents } from './breaker.js';
import type { Entry } from './entry.js';
import { isRefusal, RedisCalls } from './redis-calls.js';
import { decodeEntry, encodeEntry, fillToken, HEADER_BYTES, isFillToken, type RedisEncoding } from './redis-entry.js';
import { CLEAR, DROP, FILL, RESTAMP, WRITE } from './redis-scripts.js';
import { KEEP, READ, REMOVE } from './refusals.js';

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

const NOTHING: RedisAnswer = { entry: undefined, seen: undefined };

export class RedisTier {
  readonly #client: Redis | Cluster;
  readonly #scripts: Scripts;
  readonly #events: RedisTierEvents;
  readonly #prefix: string;
  readonly #timeoutMs: number;
  readonly #ttlMs: number;
  readonly #encoding: RedisEncoding;
  readonly #calls: RedisCalls;

  /** Loads answered from here, and those that were not. */
  hits = 0;
  misses = 0;
  /** Writes refused because something newer, or something unexpected, stood there. */
  fenced = 0;
  /** Values dropped because a check failed. */
  corrupt = 0;

  constructor(
    client: Redis | Cluster,
    options: { namespace: string; timeoutMs: number; ttlMs: number; encoding?: RedisEncoding },
    events: RedisTierEvents,
  ) {
    this.#client = client;
    this.#prefix = `${options.namespace}:${FORMAT}:`;
    this.#timeoutMs = options.timeoutMs;
    this.#ttlMs = options.ttlMs;
    this.#encoding = options.encoding ?? 'f32';
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
    this.#calls = new RedisCalls(options.timeoutMs, events);
  }

  /** Calls that failed, and among them those whose time ran out. */
  get errors(): number {
    return this.#calls.errors;
  }

  get timeouts(): number {
    return this.#calls.timeouts;
  }

  get breaker(): BreakerState {
    return this.#calls.breaker;
  }

  /** Until when a load that begins now may wait for all that it asks of Redis. */
  deadline(): number {
    return this.#calls.deadline();
  }

  /** The braces keep all of a user's adapters in one slot of a cluster. */
  redisKey(key: Key): string {
    return `${this.#prefix}{${key.userId}}:${key.adapterName}`;
  }

  async read(key: Key, deadline = this.deadline()): Promise<RedisAnswer> {
    const get = () => this.#client.getBuffer(this.redisKey(key)).catch(wrongTypeIsGarbage);
    const value = await this.#calls.try(READ, get, deadline);
    return value === undefined ? NOTHING : this.#examine(key, value, deadline);
  }

  /**
   * read() and claim() of many in one round trip: asked for together, since a token where an entry stands changes nothing.
   * result[i] answers keys[i].
   */
  async readMany(keys: readonly Key[]): Promise<RedisAnswer[]> {
    if (keys.length === 0) return [];
    const deadline = this.deadline();
    const tokens = keys.map(() => fillToken(randomBytes(16)));
    const replies = await this.#calls.try(READ, () => this.#getMany(keys, tokens), deadline);
    if (replies === undefined) return keys.map(() => NOTHING);
    const refusal = replies.claims.find((claim) => claim instanceof Error);
    if (refusal !== undefined) this.#calls.failed(KEEP, refusal);
    return await Promise.all(
      keys.map(async (key, i) => {
        const value = replies.values[i] ?? null;
        const claim = replies.claims[i];
        // MGET says of a key of another type that there is nothing, and no token takes its place: GET says what it is.
        if (value === null && claim === null) return await this.read(key, deadline);
        const answer = await this.#examine(key, value, deadline);
        return { entry: answer.entry, seen: answer.seen ?? (claim === 'OK' ? tokens[i] : undefined) };
      }),
    );
  }

  /** Leaves a token where nothing was, before Postgres is read. Returns it if it stands: a fill may go over it. */
  async claim(key: Key, deadline = this.deadline()): Promise<Buffer | undefined> {
    const token = fillToken(randomBytes(16));
    const place = () => this.#client.set(this.redisKey(key), token, 'PX', FILL_TOKEN_MS, 'NX');
    return (await this.#calls.try(KEEP, place, deadline)) === 'OK' ? token : undefined;
  }

  /** After a load from Postgres: keeps `entry` if what was `seen` before that load still stands. */
  async fill(key: Key, seen: Buffer, entry: Entry): Promise<void> {
    const value = encodeEntry(key, entry, this.#encoding);
    await this.#fenced(() => this.#scripts.loraFill(this.redisKey(key), seen, value, this.#ttl()));
  }

  /** After a load found the entry that was `seen` to be the latest still. */
  async restamp(key: Key, seen: Buffer, entry: Entry): Promise<void> {
    // The body stays as it stands there: in half precision where it was read rounded, and only there.
    const header = encodeEntry(key, entry).subarray(0, HEADER_BYTES);
    await this.#fenced(() => this.#scripts.loraRestamp(this.redisKey(key), seen, header));
  }

  /** After a save: keeps `entry` unless something newer stands there. False: Redis did not answer. */
  async write(key: Key, entry: Entry): Promise<boolean> {
    const value = encodeEntry(key, entry, this.#encoding);
    return await this.#fenced(() => this.#scripts.loraWrite(this.redisKey(key), entry.revision, value, this.#ttl()));
  }

  /** The adapter is at `revision` now: removes what is older. False: Redis did not answer. */
  async clear(key: Key, revision: number): Promise<boolean> {
    return (await this.#calls.try(REMOVE, () => this.#scripts.loraClear(this.redisKey(key), revision))) !== undefined;
  }

  /** Removes everything kept of a user, names this process never heard of included. False: it did not answer throughout. */
  async forgetUser(userId: string): Promise<boolean> {
    // ioredis puts the prefix of a caller's client before the keys of commands, but not into a pattern or what it finds.
    const { keyPrefix = '' } = this.#client.options;
    const pattern = `${escapeGlob(`${keyPrefix}${this.#prefix}{${userId}}:`)}*`;
    for (const node of 'nodes' in this.#client ? this.#client.nodes('master') : [this.#client]) {
      let cursor = '0';
      do {
        const page = await this.#calls.try(READ, () => node.scan(cursor, 'MATCH', pattern, 'COUNT', 1000));
        if (page === undefined) return false;
        cursor = page[0];
        const names = page[1].map((name) => name.slice(keyPrefix.length));
        if (names.length > 0 && (await this.#calls.try(REMOVE, () => this.#client.unlink(names))) === undefined)
          return false;
      } while (cursor !== '0');
    }
    return true;
  }

  /** Rejects when Redis does not answer. */
  async ping(): Promise<void> {
    await within(this.#client.ping(), this.#timeoutMs, 'Redis');
  }

  async #examine(key: Key, value: Buffer | null, deadline: number): Promise<RedisAnswer> {
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
      await this.#calls.try(REMOVE, () => this.#scripts.loraDrop(this.redisKey(key), seen), deadline);
      return NOTHING;
    }
  }

  /** claims: 'OK' where a token stands now, null where something stood, the error where it was refused. */
  async #getMany(
    keys: readonly Key[],
    tokens: readonly Buffer[],
  ): Promise<{ values: readonly (Buffer | null)[]; claims: readonly ('OK' | null | Error)[] }> {
    const names = keys.map((key) => this.redisKey(key));
    if ('nodes' in this.#client) {
      // A pipeline of a cluster must not cross its nodes.
      const cluster = this.#client;
      const [values, claims] = await Promise.all([
        Promise.all(names.map((name) => cluster.getBuffer(name).catch(wrongTypeIsGarbage))),
        Promise.all(
          names.map((name, i) => cluster.set(name, tokens[i] as Buffer, 'PX', FILL_TOKEN_MS, 'NX').catch(refusal)),
        ),
      ]);
      return { values, claims };
    }
    const pipeline = this.#client.pipeline().mgetBuffer(names);
    for (const [i, name] of names.entries()) pipeline.set(name, tokens[i] as Buffer, 'PX', FILL_TOKEN_MS, 'NX');
    const [read, ...claims] = (await pipeline.exec()) ?? [];
    if (read === undefined || read[0]) throw read?.[0] ?? new Error('Redis gave no answer');
    return {
      values: read[1] as (Buffer | null)[],
      claims: claims.map(([error, reply]) => error ?? (reply as 'OK' | null)),
    };
  }

  /** Whether Redis answered; that it refused is counted. */
  async #fenced(script: () => Promise<number>): Promise<boolean> {
    const reply = await this.#calls.try(KEEP, script);
    if (reply === 0) this.fenced++;
    return reply !== undefined;
  }

  #ttl(): number {
    return Math.round(this.#ttlMs * (0.9 + 0.2 * Math.random()));
  }
}

/** A claim that was refused takes nothing from what was read. */
function refusal(error: Error): Error {
  if (isRefusal(error)) return error;
  throw error;
}

/** A key that holds no string is dropped like any other value that is no entry; the scripts see it as '?' too. */
function wrongTypeIsGarbage(error: Error): Buffer {
  if (error.message.startsWith('WRONGTYPE')) return Buffer.from('?');
  throw error;
}

function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]]/g, '\\$&');
}
