/**
 * Redis pub/sub between nodes: fast, forgetful, and never the reason to trust. It only raises floors. Subscribed
 * explicitly after every (re)connection, since ioredis reports ready before a resubscription is acknowledged; a message
 * to oneself finds the subscriber that looks alive and hears nothing.
 */
import { randomUUID } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import { DeadlineError, within } from '../deadline.js';

export interface BusEvents {
  /** settled: its writer says that Redis holds nothing older. */
  heard(userId: string, adapterName: string, revision: number, settled: boolean): void;
  live(afterMs: number): void;
  lost(cause: Error): void;
}

interface Message {
  readonly userId: string;
  readonly adapterName: string;
  readonly revision: number;
  readonly version: number;
  readonly origin: string;
  /** False: Redis did not take the write that this tells of. */
  readonly settled?: boolean;
}

export class Bus {
  readonly #publisher: Redis | Cluster;
  readonly #subscriber: Redis | Cluster;
  readonly #origin = randomUUID();
  readonly #channel: string;
  readonly #echo: string;
  readonly #patienceMs: number;
  readonly #timeoutMs: number;
  readonly #events: BusEvents;

  #timer: NodeJS.Timeout | undefined;
  #live = false;
  #closed = false;
  #lostAt = performance.now();
  /** When a message to oneself came back last, and how long it was on its way. */
  #heardAt = 0;
  #lagMs: number | undefined;
  /** It heard nothing of itself: an acknowledgement is not enough any more, a message to itself must come back. */
  #suspected = false;
  /** SUBSCRIBE that is not acknowledged yet, and when it was sent. */
  #subscribing: Promise<unknown> | undefined;
  #askedAt = 0;

  received = 0;
  published = 0;
  /** Times the subscription had to be made again. */
  reconnects = 0;

  /** `prefix` ends in a colon: every channel begins with it. */
  constructor(
    publisher: Redis | Cluster,
    subscriber: Redis | Cluster,
    options: { prefix: string; maxStalenessMs: number; timeoutMs: number },
    events: BusEvents,
  ) {
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#channel = `${options.prefix}heads`;
    this.#echo = `${options.prefix}echo:${this.#origin}`;
    this.#patienceMs = options.maxStalenessMs;
    this.#timeoutMs = options.timeoutMs;
    this.#events = events;
    subscriber.on('message', (channel: string, text: string) => this.#receive(channel, text));
    subscriber.on('ready', () => void this.#subscribe());
    subscriber.on('close', () => this.#lose(new Error('the subscription of the bus was cut')));
    subscriber.on('error', () => undefined);
  }

  get connected(): boolean {
    return this.#live;
  }

  /** How long a message to oneself takes; undefined while none has come back over this subscription. */
  get lagMs(): number | undefined {
    return this.#live ? this.#lagMs : undefined;
  }

  /** Begins to listen; resolves when the subscription is acknowledged, rejects when Redis is away (it goes on trying). */
  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#tick(), Math.max(1, this.#patienceMs / 3));
    // A caller's client may be configured to connect by itself, and then 'ready' may be past.
    if (this.#subscriber.status === 'wait') await within(this.#subscriber.connect(), this.#timeoutMs, 'Redis');
    await this.#subscribe();
  }

  /** Tells every node that `key` is at `revision`, and whether Redis knows. Rejects when Redis does not take the message. */
  async publish(
    key: { userId: string; adapterName: string },
    revision: number,
    version: number,
    settled = true,
  ): Promise<void> {
    const { userId, adapterName } = key;
    const message: Message = { userId, adapterName, revision, version, origin: this.#origin, settled };
    await within(this.#publisher.publish(this.#channel, JSON.stringify(message)), this.#timeoutMs, 'Redis');
    this.published++;
  }

  close(): void {
    this.#closed = true;
    this.#live = false;
    clearInterval(this.#timer);
  }

  async #subscribe(): Promise<void> {
    try {
      await within(this.#ask(), this.#timeoutMs, 'the bus');
      if (this.#suspected) await this.#echoes();
      else this.#revive();
    } catch (error) {
      this.#lose(error as Error);
    }
  }

  /** One SUBSCRIBE at a time, however long the acknowledgement takes. */
  #ask(): Promise<unknown> {
    if (this.#subscribing === undefined) {
      this.#askedAt = performance.now();
      this.#subscribing = this.#subscriber.subscribe(this.#channel, this.#echo).finally(() => {
        this.#subscribing = undefined;
      });
    }
    return this.#subscribing;
  }

  /** A message to oneself, which resolves when it is sent. */
  async #echoes(): Promise<void> {
    await this.#publisher.publish(this.#echo, String(performance.now())).catch(() => undefined);
  }

  #tick(): void {
    const since = this.#live ? this.#heardAt : this.#subscribing && this.#askedAt;
    if (since !== undefined && performance.now() - since > this.#patienceMs) {
      this.#suspected = true;
      this.#lose(new DeadlineError('the subscription of the bus', this.#patienceMs));
      this.#subscriber.disconnect(true);
    } else if (this.#live) {
      void this.#echoes();
    } else if (this.#subscriber.status === 'ready') {
      // The acknowledgement came too late for whoever waited, or the publisher was away.
      void this.#subscribe();
    }
  }

  #revive(): void {
    if (this.#live || this.#closed) return;
    this.#live = true;
    this.#suspected = false;
    this.#heardAt = performance.now();
    this.#events.live(this.#heardAt - this.#lostAt);
  }

  #receive(channel: string, text: string): void {
    if (channel === this.#echo) {
      this.#heardAt = performance.now();
      this.#revive();
      this.#lagMs = Math.max(0, this.#heardAt - Number(text));
      return;
    }
    // What comes while the connection ends would begin work that nobody waits for any more.
    const message = this.#closed ? undefined : parse(text);
    if (message === undefined || message.origin === this.#origin) return;
    this.received++;
    this.#events.heard(message.userId, message.adapterName, message.revision, message.settled !== false);
  }

  #lose(cause: Error): void {
    if (!this.#live || this.#closed) return;
    this.#live = false;
    this.#lagMs = undefined;
    this.#lostAt = performance.now();
    this.reconnects++;
    this.#events.lost(cause);
  }
}

/** A message of another format or from another program is not for us. */
function parse(text: string): Message | undefined {
  try {
    const message = JSON.parse(text) as Partial<Message>;
    const { userId, adapterName, revision } = message;
    if (typeof userId !== 'string' || typeof adapterName !== 'string') return undefined;
    return typeof revision === 'number' && Number.isSafeInteger(revision) && revision > 0
      ? (message as Message)
      : undefined;
  } catch {
    return undefined;
  }
}
