/** The Redis connections: a client of ours that fails at once instead of queueing, or the caller's as it is. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type Cluster, Redis, type RedisOptions } from 'ioredis';
import { within } from '../deadline.js';
import { isRedisClient, type RedisSource } from '../options.js';
import { tlsFailure } from '../postgres/failure.js';

/** How long opening waits for Redis; afterwards it is a tier that is down and may come up. */
export const CONNECT_MS = 1000;

export interface RedisConnections {
  readonly client: Redis | Cluster;
  readonly subscriber: Redis | Cluster;
  /** Why there is no connection, where `failure` can only say that there is none. */
  explain(failure: Error): Error;
  close(): Promise<void>;
}

export async function connectRedis(source: RedisSource, timeoutMs: number): Promise<RedisConnections> {
  const own = !isRedisClient(source);
  const client = own ? ownClient(source, timeoutMs) : source;
  let broken: Error | undefined;
  /** Of the attempt that is being made: what ends it is that, and not what ioredis says when its stream is gone. */
  let elsewhere = false;
  // Emitted for every failed attempt to reconnect; the tier reports an outage once, when it costs a call.
  const note = (error: Error) => {
    if (!elsewhere) broken = error;
    if (!own || !isSelect(error) || elsewhere) return;
    // ioredis would go on in database 0, among keys that are somebody else's.
    elsewhere = true;
    broken = new Error(databaseRefused(error));
    (client as Redis).disconnect(true);
  };
  const begin = () => {
    elsewhere = false;
  };
  const forget = () => {
    if (!elsewhere) broken = undefined;
  };
  const ignore = () => undefined;
  client.on('error', note).on('ready', forget).on('connecting', begin);
  // The bus subscribes by itself, and waits for the acknowledgement.
  const subscriber =
    'nodes' in client
      ? client.duplicate([], { lazyConnect: true, redisOptions: { autoResubscribe: false } })
      : client.duplicate({ autoResubscribe: false, lazyConnect: true, enableOfflineQueue: true });
  subscriber.on('error', ignore);
  if (own) await within(client.connect(), CONNECT_MS, 'Redis').catch(ignore);
  return {
    client,
    subscriber,
    explain: (failure) => (broken === undefined ? failure : new Error(`cannot use Redis: ${why(broken)}`)),
    async close() {
      await Promise.all([end(subscriber), own && bye(client, timeoutMs)]);
      if (!own) client.off('error', note).off('ready', forget).off('connecting', begin);
    },
  };
}

function ownClient(source: Exclude<RedisSource, Redis | Cluster>, timeoutMs: number): Redis {
  const bySentinels = typeof source === 'object' && source.sentinels !== undefined;
  const defaults = {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: CONNECT_MS,
    disconnectTimeout: CONNECT_MS,
    // How soon a server that is loading is asked again whether it is ready; it guesses its own time badly.
    maxLoadingRetryTime: CONNECT_MS,
    // A connection that swallows commands is replaced; the breaker waits meanwhile.
    socketTimeout: Math.max(CONNECT_MS, 4 * timeoutMs),
    retryStrategy: (attempt: number) => Math.min(1000, 25 * 2 ** attempt) * (0.75 + 0.5 * Math.random()),
    connectionName: 'lora-store',
    // A sentinel that swallows the question is passed over.
    sentinelCommandTimeout: CONNECT_MS,
    // A master that was demoted and kept its connections goes on refusing; the sentinels know whom to ask instead.
    reconnectOnError: bySentinels ? (error: Error) => error.message.startsWith('READONLY') : null,
  } satisfies RedisOptions;
  // Replies in the shapes this package reads, whatever the caller prefers for his own clients.
  const fixed = { lazyConnect: true, replyMapping: 'legacy' } as const;
  try {
    return typeof source === 'string'
      ? new Redis(source, { ...defaults, ...fixed })
      : new Redis({ ...defaults, ...source, ...fixed });
  } catch {
    // Without its cause, which repeats the whole URL and the password in it.
    throw new TypeError(
      'option redis cannot be read: check host and port, and write special characters of the password as %XX',
    );
  }
}

/** What Redis answers to the SELECT of a connection that begins: the arguments tell which database. */
function isSelect(error: Error & { command?: { name?: string } }): boolean {
  return error.command?.name === 'select';
}

function databaseRefused(error: Error & { command?: { args?: readonly unknown[] } }): string {
  const database = String(error.command?.args?.[0]);
  return `database ${database} cannot be selected (${error.message}): name one that there is, and grant +select, or leave it out of the URL`;
}

/** In words alone: the error of a login that failed carries the password. */
function why(broken: Error & { code?: string }): string {
  return tlsFailure(broken, 'tls.ca') ?? (broken.message || broken.code || broken.name);
}

/** Lets what was sent be answered first. */
async function bye(client: Redis | Cluster, timeoutMs: number): Promise<void> {
  await within(client.quit(), timeoutMs, 'Redis').catch(() => undefined);
  await end(client);
}

/** Resolves when nothing of the connection is left, whether or not the other side still answers. */
async function end(client: Redis | Cluster): Promise<void> {
  if (client.status === 'end') return;
  const between = client.status === 'reconnecting';
  const ended: Promise<unknown> = between ? Promise.resolve() : once(client, 'end');
  client.disconnect();
  // Between two attempts there is no stream whose end could come. ioredis waits for that of the last one all the same,
  // with a timer that keeps the process for a second; only a 'close' of that stream ends it.
  const { stream } = client as { stream?: Socket };
  if (between && stream?.destroyed) stream.emit('close', false);
  // A caller's client may be more patient with the end of its socket, and so is its duplicate.
  await within(ended, CONNECT_MS, 'Redis').catch(() => stream?.destroy());
}
