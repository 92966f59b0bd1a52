/**
 * The channels of the bus: one on a single server, and in a cluster those of bus-shards.ts, since PUBLISH is repeated
 * there to every node. A cluster from before Redis 7 knows no SSUBSCRIBE, and has the one channel.
 */
import type { Cluster, Redis } from 'ioredis';
import { Shards } from './bus-shards.js';

/** Word of adapters, and a message to oneself beside it: they come through the same subscription. */
export interface Channel {
  readonly heads: string;
  readonly echo: string;
}

export interface ChannelEvents {
  receive(channel: string, text: string): void;
  /** There is a connection to subscribe through. */
  ready(): void;
  /** These are heard no more. */
  cut(channels: readonly Channel[]): void;
}

export class Channels {
  readonly #publisher: Redis | Cluster;
  readonly #subscriber: Redis | Cluster;
  readonly #one: Channel;
  #shards: Shards | undefined;

  /** `prefix` begins every name, `origin` is this node's own. */
  constructor(
    publisher: Redis | Cluster,
    subscriber: Redis | Cluster,
    names: { prefix: string; origin: string },
    events: ChannelEvents,
  ) {
    const name = (tag: string): Channel => ({
      heads: `${names.prefix}${tag}heads`,
      echo: `${names.prefix}${tag}echo:${names.origin}`,
    });
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#one = name('');
    if ('nodes' in publisher) this.#shards = new Shards(publisher, name, events);
    subscriber.on('message', events.receive);
    subscriber.on('ready', events.ready);
    subscriber.on('close', () => events.cut(this.all));
    subscriber.on('error', () => undefined);
  }

  get all(): readonly Channel[] {
    return this.#shards?.all ?? [this.#one];
  }

  get ready(): boolean {
    return (this.#shards === undefined ? this.#subscriber : this.#publisher).status === 'ready';
  }

  /** Begins to connect, where that is not under way. */
  async connect(): Promise<void> {
    if (this.#shards !== undefined) return await this.#shards.connect();
    // A caller's client may be configured to connect by itself, and then 'ready' may be past.
    if (this.#subscriber.status === 'wait') await this.#subscriber.connect();
  }

  /** Resolves when every one of them is acknowledged. */
  async subscribe(channels: readonly Channel[]): Promise<void> {
    try {
      if (this.#shards !== undefined) return await this.#shards.subscribe(channels);
    } catch (error) {
      this.#withoutShards(error as Error);
      await this.connect();
    }
    await this.#subscriber.subscribe(this.#one.heads, this.#one.echo);
  }

  /** Word of this user's adapters. Resolves when a server took it. */
  tell(userId: string, text: string): Promise<void> {
    return this.#publish(Number.parseInt(userId.slice(-1), 16), 'heads', text);
  }

  /** A message to oneself on every channel, with the time at which it leaves; `sent` is told of each that a server took. */
  echo(sent: (channel: string) => void): void {
    for (const [i, { echo }] of this.all.entries()) {
      this.#publish(i, 'echo', String(performance.now())).then(
        () => sent(echo),
        () => undefined,
      );
    }
  }

  /** What these came through hears nothing, though it looks alive: another connection is made. */
  replace(silent: readonly Channel[]): void {
    if (this.#shards === undefined) this.#subscriber.disconnect(true);
    else this.#shards.drop(silent);
  }

  close(): void {
    this.#shards?.close();
  }

  async #publish(which: number, to: keyof Channel, text: string): Promise<void> {
    const channel = () => this.all[which % this.all.length] ?? this.#one;
    try {
      if (this.#shards !== undefined) return await this.#shards.publish(channel()[to], text);
    } catch (error) {
      this.#withoutShards(error as Error);
    }
    await this.#publisher.publish(channel()[to], text);
  }

  /** From now on, if that is what is wrong: the server does not know of them. */
  #withoutShards(error: Error): void {
    if (!/unknown command/i.test(error.message)) throw error;
    this.#shards?.close();
    this.#shards = undefined;
  }
}
