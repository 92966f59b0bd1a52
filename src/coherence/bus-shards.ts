/**
 * Sharded pub/sub in a cluster: sixteen channels, each in a slot of its own, heard at the masters of these slots through
 * one connection each. A connection is never mended but replaced; where a slot has gone, its channel follows.
 *
 * ioredis can subscribe to shards by itself. It replaces the connection to a master that is dead as soon as it has failed,
 * hundreds of times a second, and while one of them does not answer, none of the others is subscribed again.
 */
import { once } from 'node:events';
import type { Cluster, Redis } from 'ioredis';
import type { Channel, ChannelEvents } from './bus-channels.js';
import { slotOf } from './slot.js';

/** By the last digit of a user id. The braces decide the slot, and these spread: each of many masters carries its part. */
const TAGS = [...'0123456789abcdef'].map((digit) => `{${digit}-bus}:`);

const CONNECT_MS = 1000;

interface Connection {
  readonly redis: Redis;
  /** What was subscribed to through it last. */
  readonly channels: Set<Channel>;
}

export class Shards {
  readonly all: readonly Channel[];
  readonly #client: Cluster;
  readonly #events: ChannelEvents;
  readonly #keyPrefix: string;
  readonly #connections = new Map<string, Connection>();
  readonly #follow = () => this.#followSlots();

  /** name: of a channel, from the part of it that decides its slot. */
  constructor(client: Cluster, name: (tag: string) => Channel, events: ChannelEvents) {
    this.#client = client;
    this.#events = events;
    this.all = TAGS.map(name);
    // ioredis takes the channel of SPUBLISH for a key, and puts a caller's prefix before it.
    this.#keyPrefix = client.options.keyPrefix ?? '';
    client.on('refresh', this.#follow).on('ready', events.ready);
  }

  /** Resolves when the slots are known. */
  async connect(): Promise<void> {
    if (this.#client.status === 'wait') await this.#client.connect();
    else if (this.#client.status !== 'ready') await once(this.#client, 'ready');
  }

  /** Resolves when each is acknowledged by the master of its slot. */
  async subscribe(channels: readonly Channel[]): Promise<void> {
    await Promise.all(channels.map((channel) => this.#subscribe(channel)));
  }

  async publish(channel: string, text: string): Promise<void> {
    await this.#client.spublish(channel, text);
  }

  /** Whatever these were heard through hears nothing: it is dropped, and whoever owns their slots is asked for anew. */
  drop(channels: readonly Channel[]): void {
    for (const [owner, connection] of this.#connections) {
      if (channels.some((channel) => connection.channels.has(channel))) this.#end(owner, connection);
    }
    this.#lookUp();
  }

  close(): void {
    this.#client.off('refresh', this.#follow).off('ready', this.#events.ready);
    for (const { redis } of this.#connections.values()) redis.disconnect();
  }

  async #subscribe(channel: Channel): Promise<void> {
    const owner = this.#ownerOf(channel);
    const connection = owner === undefined ? undefined : (this.#connections.get(owner) ?? this.#connect(owner));
    if (connection === undefined) {
      this.#lookUp();
      throw new Error('the cluster does not say which master has the slot of a channel');
    }
    for (const { channels } of this.#connections.values()) channels.delete(channel);
    connection.channels.add(channel);
    // One command: both are subscribed to, or neither is.
    await connection.redis.ssubscribe(...[channel.heads, channel.echo].map((name) => `${this.#keyPrefix}${name}`));
  }

  #ownerOf({ heads }: Channel): string | undefined {
    return this.#client.slots[slotOf(`${this.#keyPrefix}${heads}`)]?.[0];
  }

  #connect(owner: string): Connection | undefined {
    const node = this.#client.nodes('master').find(({ options }) => `${options.host}:${options.port}` === owner);
    const redis = node?.duplicate({
      lazyConnect: false,
      enableOfflineQueue: true,
      // One that is silent would be waited for in vain.
      enableReadyCheck: false,
      autoResubscribe: false,
      retryStrategy: () => null,
      connectTimeout: CONNECT_MS,
      disconnectTimeout: CONNECT_MS,
      keyPrefix: '',
    });
    if (redis === undefined) return undefined;
    const connection: Connection = { redis, channels: new Set() };
    this.#connections.set(owner, connection);
    redis.on('error', () => undefined);
    redis.on('smessage', (name: string, text: string) =>
      this.#events.receive(name.slice(this.#keyPrefix.length), text),
    );
    // A slot has gone from there, and its channels with it.
    redis.on('moved', () => this.#lookUp());
    redis.once('close', () => this.#end(owner, connection));
    return connection;
  }

  /** Nothing that it still brings is waited for: the end of a connection to a server that is silent takes its time. */
  #end(owner: string, connection: Connection): void {
    if (this.#connections.get(owner) !== connection) return;
    this.#connections.delete(owner);
    connection.redis.disconnect();
    if (connection.channels.size > 0) this.#events.cut([...connection.channels]);
  }

  /** The owners of the slots were asked for. */
  #followSlots(): void {
    for (const [owner, connection] of this.#connections) {
      for (const channel of connection.channels) {
        // What fails is found to be silent.
        if (this.#ownerOf(channel) !== owner) this.#subscribe(channel).catch(() => undefined);
      }
      if (connection.channels.size === 0) this.#end(owner, connection);
    }
  }

  #lookUp(): void {
    if (this.#client.status === 'ready') this.#client.refreshSlotsCache();
  }
}
