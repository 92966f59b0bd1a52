/**
 * The shared tier: trusted for bytes, never for freshness (the caller asks Coherence whether an entry counts). Optional
 * at every moment: a read costs at most `timeoutMs`, then a breaker opens and costs nothing until a trial succeeds; no
 * method here throws. Bytes that fail a check are dropped and reported, never returned.
 */
import { randomBytes } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import type { Key } from '../coherence/key.js';
import type { BreakerState, OutageEvents } from './breaker.js';
import type { Entry } from './entry.js';
import { decodeEntry, encodeEntry, fillToken, HEADER_BYTES, isFillToken, type RedisEncoding } from './redis-entry.js';
import { keysThatBegin } from './redis-keys.js';
import { type Held, readAndClaim, wrongTypeIsGarbage } from './redis-many.js';
import { RedisNodes, type Share } from './redis-nodes.js';
import { CLEAR, DROP, FILL, RESTAMP, WRITE } from './redis-scripts.js';
import { type Asks, KEEP, READ, REMOVE } from './refusals.js';

/** Part of every key: nodes that know another layout keep to other keys, so old and new run side by side. */
export const FORMAT = 'v1';

/** How long the reader who found nothing may take to ask Postgres and fill. */
const FILL_TOKEN_MS = 3000;

/** The answer of one read. */
export interface RedisAnswer {
  readonly entry: Entry | undefined;
  /** First bytes of what stands under the key, over which alone a fill may go. Undefined: do not fill. */
  readonly seen: Buffer | undefined;
  /** It is the token of this very read. */
  readonly claimed?: boolean;
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

/** Bytes that were refused, and are gone. */
const NOTHING: RedisAnswer = { entry: undefined, seen: undefined };

/** Redis did not say what it holds, or keeps what was refused: there is no place for a token. It is no miss either. */
export const UNKNOWN: RedisAnswer = { entry: undefined, seen: undefined };

export class RedisTier {
  readonly #client: Redis | Cluster;
  readonly #scripts: Scripts;
  readonly #events: RedisTierEvents;
  readonly #prefix: string;
  readonly #ttlMs: number;
  readonly #encoding: RedisEncoding;
  readonly #nodes: RedisNodes;

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
    this.#nodes = new RedisNodes(client, options.timeoutMs, events);
  }

  /** Calls that failed, and among them those whose time ran out. */
  get errors(): number {
    return this.#nodes.errors;
  }

  get timeouts(): number {
    return this.#nodes.timeouts;
  }

  get breaker(): BreakerState {
    return this.#nodes.breaker;
  }

  /** Until when a load that begins now may wait for all that it asks of Redis. */
  deadline(): number {
    return this.#nodes.deadline();
  }

  /** The braces keep all of a user's adapters in one slot of a cluster. */
  redisKey(key: Key): string {
    return `${this.#prefix}{${key.userId}}:${key.adapterName}`;
  }

  async read(key: Key, deadline = this.deadline()): Promise<RedisAnswer> {
    const get = (name: string) => this.#client.getBuffer(name).catch(wrongTypeIsGarbage);
    const value = await this.#try(READ, key, get, deadline);
    return value === undefined ? UNKNOWN : this.#examine(key, value, deadline);
  }

  /**
   * read() and claim() of many in one round trip to each server that holds some: asked for together, since a token where
   * an entry stands changes nothing. result[i] answers keys[i].
   */
  async readMany(keys: readonly Key[], deadline = this.deadline()): Promise<RedisAnswer[]> {
    const shares = this.#nodes.share(keys.map((key) => this.redisKey(key)));
    const answers: RedisAnswer[] = keys.map(() => UNKNOWN);
    await Promise.all(
      shares.map(async (share) => {
        const found = await this.#readShare(
          share.at.map((i) => keys[i] as Key),
          share,
          deadline,
        );
        for (const [n, i] of share.at.entries()) answers[i] = found[n] ?? UNKNOWN;
      }),
    );
    return answers;
  }

  /**
   * Leaves a token where nothing was, before Postgres is read. Returns it if it stands: a fill may go over it. 'taken':
   * something stands there by now.
   */
  async claim(key: Key, deadline = this.deadline()): Promise<Buffer | 'taken' | undefined> {
    const token = fillToken(randomBytes(16));
    const place = (name: string) => this.#client.set(name, token, 'PX', FILL_TOKEN_MS, 'NX');
    const placed = await this.#try(KEEP, key, place, deadline);
    return placed === 'OK' ? token : placed === null ? 'taken' : undefined;
  }

  /** There is nothing to fill in over this token: whoever waits for it asks Postgres himself. */
  async release(key: Key, token: Buffer): Promise<void> {
    await this.#try(REMOVE, key, (name) => this.#scripts.loraDrop(name, token));
  }

  /** After a load from Postgres: keeps `entry` if what was `seen` before that load still stands. */
  async fill(key: Key, seen: Buffer, entry: Entry): Promise<void> {
    const value = encodeEntry(key, entry, this.#encoding);
    await this.#fenced(key, (name) => this.#scripts.loraFill(name, seen, value, this.#ttl()));
  }

  /** After a load found the entry that was `seen` to be the latest still. */
  async restamp(key: Key, seen: Buffer, entry: Entry): Promise<void> {
    // The body stays as it stands there: in half precision where it was read rounded, and only there.
    const header = encodeEntry(key, entry).subarray(0, HEADER_BYTES);
    await this.#fenced(key, (name) => this.#scripts.loraRestamp(name, seen, header));
  }

  /** After a save: keeps `entry` unless something newer stands there. False: Redis did not answer. */
  async write(key: Key, entry: Entry): Promise<boolean> {
    const value = encodeEntry(key, entry, this.#encoding);
    return await this.#fenced(key, (name) => this.#scripts.loraWrite(name, entry.revision, value, this.#ttl()));
  }

  /** The adapter is at `revision` now: removes what is older. False: Redis did not answer. */
  async clear(key: Key, revision: number): Promise<boolean> {
    return (await this.#try(REMOVE, key, (name) => this.#scripts.loraClear(name, revision))) !== undefined;
  }

  /** Removes everything kept of a user, names this process never heard of included. False: it did not answer throughout. */
  async forgetUser(userId: string): Promise<boolean> {
    // ioredis puts the prefix of a caller's client before the keys of commands, but not into a pattern or what it finds.
    const { keyPrefix = '' } = this.#client.options;
    const own = `${this.#prefix}{${userId}}:`;
    const calls = this.#nodes.of(own);
    const pages = keysThatBegin(this.#client, `${keyPrefix}${own}`, (whom, ask) =>
      this.#nodes.to(whom).try(READ, ask, this.deadline()),
    );
    for await (const page of pages) {
      if (page === undefined) return false;
      // Each by itself: of several keys a slot that is on its way may have some here and some there.
      const removing = page.map((name) => {
        const remove = () => this.#client.unlink(name.slice(keyPrefix.length));
        return calls.try(REMOVE, remove, this.deadline());
      });
      if ((await Promise.all(removing)).includes(undefined)) return false;
    }
    return true;
  }

  /** Rejects when Redis does not answer, of a cluster one master, and while a breaker keeps from asking. */
  ping(): Promise<void> {
    return this.#nodes.ping();
  }

  /** There are signs of life: a breaker that is not closed tries, where no load may come to do it. */
  revisit(): void {
    if (this.breaker !== 'closed') this.ping().catch(() => undefined);
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
      this.corrupt++;
      this.#events.corrupt(key, error instanceof Error && 'reason' in error ? String(error.reason) : String(error));
      const dropped = await this.#try(REMOVE, key, (name) => this.#scripts.loraDrop(name, seen), deadline);
      if (dropped === undefined) return UNKNOWN;
      this.misses++;
      return NOTHING;
    }
  }

  /** Of keys that one server answers. */
  async #readShare(keys: readonly Key[], { calls, together }: Share, deadline: number): Promise<RedisAnswer[]> {
    const wanted = keys.map((key) => ({ name: this.redisKey(key), token: fillToken(randomBytes(16)) }));
    const ask = () => readAndClaim(this.#client, wanted, FILL_TOKEN_MS, together);
    const held = await calls.try(READ, ask, deadline);
    const refused = held?.find(({ claim }) => claim instanceof Error)?.claim;
    if (refused instanceof Error) calls.failed(KEEP, refused);
    return await Promise.all(
      (held ?? []).map(async ({ value, claim }: Held, i) => {
        const { key, token } = { key: keys[i] as Key, ...wanted[i] };
        // MGET says of a key of another type that there is nothing, and no token takes its place: GET says what it is.
        if (value === null && claim === null) return await this.read(key, deadline);
        const answer = await this.#examine(key, value, deadline);
        return claim === 'OK' ? { entry: answer.entry, seen: answer.seen ?? token, claimed: true } : answer;
      }),
    );
  }

  /** A call about this key, to the server that has it. */
  #try<T>(
    asks: Asks,
    key: Key,
    call: (name: string) => Promise<T>,
    deadline = this.deadline(),
  ): Promise<T | undefined> {
    const name = this.redisKey(key);
    return this.#nodes.of(name).try(asks, () => call(name), deadline);
  }

  /** Whether Redis answered; that it refused is counted. */
  async #fenced(key: Key, script: (name: string) => Promise<number>): Promise<boolean> {
    const reply = await this.#try(KEEP, key, script);
    if (reply === 0) this.fenced++;
    return reply !== undefined;
  }

  #ttl(): number {
    return Math.round(this.#ttlMs * (0.9 + 0.2 * Math.random()));
  }
}
