/**
 * Redis pub/sub between nodes: fast, forgetful, and never the reason to trust. It only raises floors. Subscribed
 * explicitly after every (re)connection, since ioredis reports ready before a resubscription is acknowledged; a message
 * to oneself on every channel finds the subscriber that looks alive and hears nothing.
 */
import { randomUUID } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import { DeadlineError, within } from '../deadline.js';
import { type Channel, Channels } from './bus-channels.js';

export interface BusEvents {
  /** settled: its writer says that Redis holds nothing older. */
  heard(userId: string, adapterName: string, revision: number, settled: boolean): void;
  live(afterMs: number): void;
  lost(cause: Error): void;
  /** A message to oneself came back: Redis takes and gives. */
  echoed(): void;
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
  readonly #origin = randomUUID();
  readonly #channels: Channels;
  readonly #patienceMs: number;
  readonly #timeoutMs: number;
  readonly #events: BusEvents;

  #timer: NodeJS.Timeout | undefined;
  #live = false;
  #closed = false;
  #lostAt = performance.now();
  /** When a message to oneself came back last, by the channel it came through. */
  readonly #heardAt = new Map<string, number>();
  /** Since when it should have: a server took one. */
  readonly #dueSince = new Map<string, number>();
  /** How long the last of them was on its way. */
  #lagMs: number | undefined;
  /** It heard nothing of itself: an acknowledgement is not enough any more, a message to itself must come back. */
  #suspected = false;
  /** SUBSCRIBE that is not acknowledged yet, and when it was sent. */
  #subscribing: Promise<unknown> | undefined;
  #askedAt = 0;
  #failure: Error | undefined;

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
    this.#patienceMs = options.maxStalenessMs;
    this.#timeoutMs = options.timeoutMs;
    this.#events = events;
    const { prefix } = options;
    this.#channels = new Channels(
      publisher,
      subscriber,
      { prefix, origin: this.#origin },
      {
        receive: (channel, text) => this.#receive(channel, text),
        ready: () => void this.#subscribe(),
        cut: (channels) => this.#cut(channels),
      },
    );
  }

  get connected(): boolean {
    return this.#live;
  }

  /** Why the last SUBSCRIBE was not acknowledged: an answer of Redis, or that there was none. */
  get failure(): Error | undefined {
    return this.#live ? undefined : this.#failure;
  }

  /** How long a message to oneself takes; undefined while none has come back over this subscription. */
  get lagMs(): number | undefined {
    return this.#live ? this.#lagMs : undefined;
  }

  /** Begins to listen; resolves when the subscription is acknowledged, rejects when Redis is away (it goes on trying). */
  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#tick(), Math.max(1, this.#patienceMs / 3));
    await within(this.#channels.connect(), this.#timeoutMs, 'Redis');
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
    await within(this.#channels.tell(userId, JSON.stringify(message)), this.#timeoutMs, 'Redis');
    this.published++;
  }

  close(): void {
    this.#closed = true;
    this.#live = false;
    clearInterval(this.#timer);
    this.#channels.close();
  }

  async #subscribe(): Promise<void> {
    try {
      await within(this.#ask(), this.#timeoutMs, 'the bus');
      if (this.#suspected) this.#echoes();
      else this.#revive();
    } catch (error) {
      this.#failure = error as Error;
      this.#lose(this.#failure);
    }
  }

  /** One SUBSCRIBE at a time, however long the acknowledgement takes, and of what is not heard as it is. */
  #ask(): Promise<unknown> {
    if (this.#subscribing === undefined) {
      this.#askedAt = performance.now();
      this.#subscribing = this.#channels.subscribe(this.#silent()).finally(() => {
        this.#subscribing = undefined;
      });
    }
    return this.#subscribing;
  }

  /** Channels on which no message to oneself has come of late. */
  #silent(): Channel[] {
    const since = performance.now() - this.#patienceMs;
    return this.#channels.all.filter(({ echo }) => (this.#heardAt.get(echo) ?? Number.NEGATIVE_INFINITY) < since);
  }

  #echoes(): void {
    this.#channels.echo((channel) => {
      if (!this.#dueSince.has(channel)) this.#dueSince.set(channel, performance.now());
    });
  }

  #tick(): void {
    if (this.#live ? this.#silent().length > 0 : this.#hearsNothing(performance.now())) {
      this.#suspected = true;
      this.#lose(new DeadlineError('the subscription of the bus', this.#patienceMs));
      this.#dueSince.clear();
      this.#channels.replace(this.#silent());
    } else if (this.#channels.ready) {
      this.#echoes();
      // The acknowledgement came too late for whoever waited, or the publisher was away.
      if (!this.#live) void this.#subscribe();
    }
  }

  /** The subscription is not acknowledged, or what a server took for it has not arrived. */
  #hearsNothing(now: number): boolean {
    const asked = this.#subscribing === undefined ? [] : [this.#askedAt];
    return [...asked, ...this.#dueSince.values()].some((since) => now - since > this.#patienceMs);
  }

  #revive(): void {
    if (this.#live || this.#closed) return;
    this.#live = true;
    this.#suspected = false;
    const now = performance.now();
    for (const { echo } of this.#channels.all) this.#heardAt.set(echo, now);
    this.#events.live(now - this.#lostAt);
  }

  #receive(channel: string, text: string): void {
    if (this.#channels.all.some(({ echo }) => echo === channel)) {
      this.#heardAt.set(channel, performance.now());
      this.#dueSince.delete(channel);
      if (this.#silent().length === 0) this.#revive();
      this.#lagMs = Math.max(0, performance.now() - Number(text));
      if (!this.#closed) this.#events.echoed();
      return;
    }
    // What comes while the connection ends would begin work that nobody waits for any more.
    const message = this.#closed ? undefined : parse(text);
    if (message === undefined || message.origin === this.#origin) return;
    this.received++;
    this.#events.heard(message.userId, message.adapterName, message.revision, message.settled !== false);
  }

  #cut(channels: readonly Channel[]): void {
    for (const { echo } of channels) {
      this.#heardAt.delete(echo);
      this.#dueSince.delete(echo);
    }
    this.#lose(new Error('the subscription of the bus was cut'));
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
