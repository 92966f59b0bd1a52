/**
 * The ear: a connection of its own that LISTENs to what the triggers on the heads say of every writer there is. It
 * proves itself with heartbeats to itself, so that a mute or half-open connection loses its lease without being noticed,
 * and is replaced when it is. Whatever it may have missed renews the horizon.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DeadlineError, within } from '../deadline.js';
import { isPooled, PoolerError } from '../postgres/pooler.js';
import { leaveMark, SERVER_ID } from '../postgres/server-id.js';
import { untilAborted } from './flight.js';
import type { Coherence } from './head.js';

export const CHANNEL = 'lora_store_heads';

/** Pause after a failed attempt to reconnect: doubled from the first to the longest, give or take a quarter. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

export interface ChangeFeedEvents {
  heard(userId: string, adapterName: string, revision: number): void;
  live(afterMs: number): void;
  lost(cause: Error): void;
}

export interface ChangeFeedOptions {
  readonly maxStalenessMs: number;
  readonly timeoutMs: number;
  /** Standbys are read from, which have to show whose they are. */
  readonly replicated?: boolean;
  /** The server and database that are the primary now; undefined: not known. Never rejects. */
  readonly primary?: () => Promise<number | undefined>;
}

export class ChangeFeed {
  readonly #config: pg.ClientConfig;
  readonly #coherence: Coherence;
  readonly #events: ChangeFeedEvents;
  readonly #leaseMs: number;
  readonly #timeoutMs: number;
  /** Of a mark: somebody may hold its row, and heartbeats wait meanwhile. */
  readonly #lockTimeoutMs: number;
  readonly #replicated: boolean;
  readonly #primary: () => Promise<number | undefined>;
  /** Heartbeats go to nobody else. */
  readonly #pulse = `lora_store_pulse_${randomBytes(8).toString('hex')}`;
  readonly #closing = new AbortController();

  #client: pg.Client | undefined;
  /** The client once LISTEN was acknowledged: a horizon noted before would vouch for what nobody heard. */
  #ear: pg.Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #connecting: Promise<unknown> | undefined;
  /** A horizon being noted, and by which ear: that of a lost one says nothing about the next. */
  #renewing: { readonly client: pg.Client; readonly done: Promise<void> } | undefined;
  /** The horizon was noted without a mark. */
  #unmarked = false;
  /** Whose heartbeat is under way, and whether the next one is due. */
  #beating: pg.Client | undefined;
  #late = false;
  /** Ends when the last question was answered. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Send time of the heartbeat that came back last. */
  #provenAt = 0;
  #lostAt = 0;

  /** Times the ear had to be replaced. */
  reconnects = 0;

  constructor(config: pg.ClientConfig, coherence: Coherence, options: ChangeFeedOptions, events: ChangeFeedEvents) {
    this.#replicated = options.replicated ?? false;
    this.#primary = options.primary ?? (async () => undefined);
    this.#config = {
      ...config,
      application_name: 'lora-store change feed',
      connectionTimeoutMillis: options.timeoutMs,
      keepAlive: true,
    };
    this.#coherence = coherence;
    this.#leaseMs = options.maxStalenessMs;
    this.#timeoutMs = options.timeoutMs;
    this.#lockTimeoutMs = Math.ceil(Math.min(this.#timeoutMs, this.#leaseMs) / 4);
    this.#events = events;
  }

  /** Resolves once the ear listens, or rejects with why it does not yet; it goes on trying either way. */
  async start(): Promise<void> {
    this.#lostAt = performance.now();
    await this.#connect();
  }

  /** Something was missed or forgotten: notes a new horizon on the connection there is. One that is being made notes its own. */
  renew(): void {
    const client = this.#ear;
    if (client === undefined || this.#renewing?.client === client) return;
    const done = this.#noteHorizon(client)
      .catch((error) => this.#lose(client, error))
      .finally(() => {
        if (this.#renewing?.client === client) this.#renewing = undefined;
      });
    this.#renewing = { client, done };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#timer);
    const client = this.#client;
    this.#client = this.#ear = undefined;
    await Promise.allSettled([client && end(client), this.#connecting, this.#renewing?.done]);
  }

  async #connect(): Promise<void> {
    const client = new pg.Client(this.#config);
    client.on('error', (error) => this.#lose(client, error));
    client.on('end', () => this.#lose(client, new Error('the server closed the connection of the change feed')));
    client.on('notification', ({ channel, payload = '' }) => {
      if (this.#client !== client) return;
      if (channel === this.#pulse) this.#beat(Number(payload));
      else this.#hear(payload);
    });
    this.#client = client;
    this.#turn = Promise.resolve();
    try {
      await this.#listen(client);
    } catch (error) {
      // Its own client and no other: the end of this one may have begun the next attempt already.
      this.#lose(client, error as Error);
      throw error;
    }
    this.#timer = setInterval(() => this.#tick(client), Math.max(1, this.#leaseMs / 3));
    this.#events.live(performance.now() - this.#lostAt);
  }

  async #listen(client: pg.Client): Promise<void> {
    // pg answers nothing at all to a connect() that end() overtakes.
    await untilAborted(client.connect(), this.#closing.signal);
    const { rows } = await this.#ask(client, 'select pg_backend_pid() as pid');
    // It takes LISTEN, and even lets the first heartbeats through where a session happens to be the same.
    if (isPooled(client, Number(rows[0]?.pid))) throw new PoolerError('a pooler delivers no notifications');
    await this.#ask(client, `listen ${CHANNEL}; listen ${this.#pulse}`);
    this.#ear = client;
    // No trust before the first heartbeat is back, whatever is between.
    const sentAt = await this.#sendHeartbeat(client);
    if (this.#provenAt < sentAt)
      throw new Error('LISTEN is accepted but nothing arrives (a pooler? set postgres.direct)');
    await this.#noteHorizon(client);
    if (this.#client !== client) throw new Error('the change feed was closed or cut while it connected');
  }

  /** What commits from here on is heard. Asked again when the horizon was lost in between. */
  async #noteHorizon(client: pg.Client): Promise<void> {
    for (;;) {
      const { era } = this.#coherence;
      const mark = this.#replicated ? await this.#leaveMark(client) : undefined;
      const sentAt = performance.now();
      const { rows } = await this.#ask(
        client,
        `select pg_snapshot_xmax(pg_current_snapshot())::text as xid,
           ${SERVER_ID}::text as server`,
      );
      const horizon = { xid: Number(rows[0]?.xid), server: Number(rows[0]?.server), mark };
      await this.#expectPrimary(horizon.server);
      this.#unmarked = this.#replicated && mark === undefined;
      if (this.#client !== client || this.#coherence.listen(horizon, era, sentAt)) return;
    }
  }

  /** One that was replaced and lives on would be listened to for good. Who answers last may be the old one, too: it is asked again. */
  async #expectPrimary(server: number): Promise<void> {
    if (this.#coherence.isPrimary(server)) return;
    const primary = await this.#primary();
    if (primary !== undefined) this.#coherence.answered(primary);
    if (!this.#coherence.isPrimary(server))
      throw new Error('the change feed is led to another server than the one that answers as the primary');
  }

  /** By which standbys are judged. Undefined where that is not to be had: then none of them counts, and the ear is as good as ever. */
  async #leaveMark(client: pg.Client): Promise<number | undefined> {
    try {
      const results = (await this.#ask(client, leaveMark(this.#lockTimeoutMs))) as unknown as pg.QueryResult<{
        mark: string;
      }>[];
      return Number(results.find(({ command }) => command === 'SELECT')?.rows[0]?.mark);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      await this.#ask(client, 'rollback');
      return undefined;
    }
  }

  /** Whoever held the mark, or kept from leaving it, may be gone. */
  async #markLate(client: pg.Client): Promise<void> {
    if (!this.#unmarked || this.#ear !== client || this.#renewing !== undefined) return;
    const { era } = this.#coherence;
    const mark = await this.#leaveMark(client);
    if (mark !== undefined && this.#client === client && this.#coherence.marked(mark, era)) this.#unmarked = false;
  }

  /** On a line that is slower than the ticks the next heartbeat leaves when the last one is back. */
  #tick(client: pg.Client): void {
    if (this.#client !== client) return;
    // The primary turned out to be another server.
    if (this.#coherence.hears === undefined) this.renew();
    if (performance.now() - this.#provenAt > this.#leaseMs) {
      this.#lose(client, new DeadlineError('the heartbeat of the change feed', this.#leaseMs));
      return;
    }
    if (this.#beating === client) {
      this.#late = true;
      return;
    }
    this.#beating = client;
    this.#late = false;
    this.#sendHeartbeat(client)
      .then(() => this.#markLate(client))
      .catch((error) => this.#lose(client, error))
      .finally(() => {
        if (this.#beating !== client) return;
        this.#beating = undefined;
        if (this.#late) this.#tick(client);
      });
  }

  /** Resolves with its send time, once it was answered. */
  async #sendHeartbeat(client: pg.Client): Promise<number> {
    const sentAt = performance.now();
    // Postgres delivers to the sender before it answers the statement.
    await this.#ask(client, `select pg_notify('${this.#pulse}', '${sentAt}')`);
    return sentAt;
  }

  #beat(sentAt: number): void {
    // One of the connection before may come late, and what is no time of ours proves nothing.
    if (!(sentAt > this.#provenAt && sentAt <= performance.now())) return;
    this.#provenAt = sentAt;
    this.#coherence.heartbeat(sentAt);
  }

  #hear(payload: string): void {
    const head = parseHead(payload);
    if (head !== undefined) {
      this.#events.heard(head.u, head.n, head.r);
      return;
    }
    // '*': more keys than a statement lists. Anything else that cannot be read may name any key.
    this.#coherence.loseHorizon();
    this.renew();
  }

  #lose(client: pg.Client | undefined, cause: Error): void {
    if (client === undefined || this.#client !== client) return;
    this.#client = this.#ear = undefined;
    clearInterval(this.#timer);
    this.#coherence.loseHorizon();
    end(client).catch(() => undefined);
    if (this.#closing.signal.aborted) return;
    if (this.#connecting === undefined) {
      this.#lostAt = performance.now();
      this.reconnects++;
      this.#events.lost(cause);
      this.#connecting = this.#reconnect();
    }
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#closing;
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        await this.#connect();
        // Here and not later: the next loss must find nobody reconnecting.
        this.#connecting = undefined;
        return;
      } catch {
        await sleep(pauseMs * (0.75 + 0.5 * Math.random()), undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** One question at a time: pg means to refuse a second one while a slow line still carries the answer of the first. */
  #ask(client: pg.Client, text: string): Promise<pg.QueryResult<Record<string, string>>> {
    const answer = this.#turn.then(() => client.query(text));
    this.#turn = answer.catch(() => undefined);
    return within(answer, this.#timeoutMs, 'the change feed');
  }
}

interface HeadMessage {
  readonly u: string;
  readonly n: string;
  readonly r: number;
}

function parseHead(payload: string): HeadMessage | undefined {
  if (!payload.startsWith('{')) return undefined;
  try {
    const { u, n, r } = JSON.parse(payload) as Partial<HeadMessage>;
    if (typeof u === 'string' && typeof n === 'string' && Number.isSafeInteger(r)) return { u, n, r: r as number };
  } catch {
    // Not ours: the caller takes it for a gap.
  }
  return undefined;
}

/** Ends a connection whether or not the other side still answers. */
async function end(client: pg.Client): Promise<void> {
  const { stream } = client.connection as unknown as { stream: { destroy(): void } };
  await within(client.end(), 500, 'the change feed').catch(() => undefined);
  stream.destroy();
}
