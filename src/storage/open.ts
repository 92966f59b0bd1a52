/**
 * Builds the parts of a storage object from its options, and owns the order in which they close: the reverse of the
 * order in which they were opened. Postgres must be there and have the schema; everything else may come later.
 */
import { Bus } from '../coherence/bus.js';
import { ChangeFeed } from '../coherence/change-feed.js';
import { Changes } from '../coherence/changes.js';
import { Coherence } from '../coherence/head.js';
import { keyOf } from '../coherence/key.js';
import {
  isPool,
  type LoRAStorageOptions,
  type PostgresSource,
  parseOptions,
  type ResolvedOptions,
} from '../options.js';
import { checkedConfig, connectionOf, Database } from '../postgres/database.js';
import { startEmbeddedPostgres } from '../postgres/embedded.js';
import { migrate } from '../postgres/migrate.js';
import { GuardedMemoryTier } from '../tiers/guarded-memory.js';
import { MemoryTier } from '../tiers/memory.js';
import { PostgresTier } from '../tiers/postgres.js';
import { FORMAT, RedisTier } from '../tiers/redis.js';
import { connectRedis } from '../tiers/redis-client.js';
import type { Replicas } from '../tiers/replicas.js';
import { checkDatabase, checkMarks, expectSameServer, refusePooler, whichServer } from './database-checks.js';
import { Events, type StorageEvents } from './events.js';
import { HotKeys } from './hot-keys.js';
import { Invalidation } from './invalidation.js';
import { Loader } from './loader.js';
import { openReplicas } from './replication.js';
import { Tasks } from './tasks.js';
import { Writer } from './writer.js';

export interface Parts {
  readonly options: ResolvedOptions;
  readonly coherence: Coherence;
  readonly memory: MemoryTier | undefined;
  readonly redis: RedisTier | undefined;
  readonly postgres: PostgresTier;
  readonly replicas: Replicas | undefined;
  readonly bus: Bus | undefined;
  readonly feed: ChangeFeed | undefined;
  readonly loader: Loader;
  readonly writer: Writer;
  readonly events: Events;
  readonly tasks: Tasks;
  readonly hotKeys: HotKeys | undefined;
  close(): Promise<void>;
}

type Closer = () => Promise<void> | void;

const EMBEDDED = 'embedded:';

export async function openParts(given?: LoRAStorageOptions): Promise<Parts> {
  const options = parseOptions(given);
  const closers: Closer[] = [];
  const close = async () => {
    const failures: unknown[] = [];
    for (let closer = closers.pop(); closer !== undefined; closer = closers.pop()) {
      // One that fails must not keep the others open.
      await (async () => closer())().catch((error) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  };
  try {
    return await build(options, closers, close);
  } catch (error) {
    // Why it did not open is what the caller has to hear.
    await close().catch(() => undefined);
    throw error;
  }
}

async function build(options: ResolvedOptions, closers: Closer[], close: () => Promise<void>): Promise<Parts> {
  const { maxStalenessMs, staleIfErrorMs, redisTimeoutMs, redisTtlMs, postgresTimeoutMs, namespace } = options;
  const events = new Events();
  const tasks = new Tasks();
  const report = (tier: StorageEvents['degraded'][0]['tier']) => reporter(events, tier);

  const source = await resolve(options.postgres.primary, closers);
  const database = new Database(source, { timeoutMs: postgresTimeoutMs, maxQueue: options.maxQueue });
  closers.push(() => database.close());
  await checkDatabase(database);
  const replicated = options.postgres.replicas.length > 0;
  if (replicated) await checkMarks(database);
  const postgres = new PostgresTier(database, options, report('postgres'));
  const coherence = new Coherence(options);
  const memory = options.memory && openMemory(options.memory.maxBytes, options.guard, events);

  const busReport = report('bus');
  let redis: RedisTier | undefined;
  let bus: Bus | undefined;
  let explain = (failure: Error) => failure;
  if (options.redis !== undefined) {
    const connections = await connectRedis(options.redis, redisTimeoutMs);
    closers.push(() => connections.close());
    explain = connections.explain;
    const limits = { namespace, timeoutMs: redisTimeoutMs, ttlMs: redisTtlMs, encoding: options.redisEncoding };
    const { degraded, recovered } = report('redis');
    const tier = new RedisTier(connections.client, limits, {
      degraded: (cause) => degraded(connections.explain(cause)),
      recovered,
      corrupt: ({ userId, adapterName }, reason) =>
        events.emit('corrupt', { userId, adapterName, tier: 'redis', reason }),
    });
    redis = tier;
    const reach = { prefix: `${namespace}:${FORMAT}:`, maxStalenessMs, timeoutMs: redisTimeoutMs };
    bus = new Bus(connections.client, connections.subscriber, reach, {
      heard: (userId, name, revision, settled) => invalidation.heard(keyOf(userId, name), revision, 'bus', settled),
      live: busReport.recovered,
      lost: busReport.degraded,
      echoed: () => tier.revisit(),
    });
  }

  const primary = () => whichServer(database).catch(() => undefined);
  let feed: ChangeFeed | undefined;
  if (options.changeFeed) {
    const { degraded, recovered } = report('change-feed');
    const config = options.postgres.direct === undefined ? database.config : directConfig(options.postgres.direct);
    feed = new ChangeFeed(
      config,
      coherence,
      { maxStalenessMs, timeoutMs: postgresTimeoutMs, replicated, primary },
      {
        heard: (userId, name, revision) => invalidation.heard(keyOf(userId, name), revision, 'change-feed'),
        live: recovered,
        lost: degraded,
      },
    );
  }

  const replicas = openReplicas(options, coherence, events, () => report('replica'), primary);
  if (replicas !== undefined) closers.push(() => replicas.close());
  const renewHorizon = () => feed?.renew();
  const limits = { maxStalenessMs, staleIfErrorMs, fillLease: options.fillLease };
  const loader = new Loader({ coherence, memory, redis, postgres, replicas, events, tasks, renewHorizon, ...limits });
  const detach = loader.detach.bind(loader);
  const changes = new Changes(coherence, memory);
  const invalidation = new Invalidation({ changes, redis, events, tasks, detach, renewHorizon });
  const writer = new Writer({ changes, memory, redis, postgres, bus, invalidation, tasks, detach, renewHorizon });

  closers.push(() => invalidation.close());
  closers.push(() => feed?.close());
  closers.push(() => bus?.close());
  // Neither may keep a storage from opening: without its ear every load asks Postgres for the head, without its bus the
  // ear tells. Both go on trying, and health() says how they are.
  const [ear] = await Promise.allSettled([feed?.start(), bus?.start()]);
  if (ear.status === 'rejected') refusePooler(ear.reason, options);
  if (options.postgres.direct !== undefined) await expectSameServer(database, coherence);
  // What they may be asked for depends on what the ear covers.
  await replicas?.start();
  if (bus?.connected === false) busReport.degraded(explain(notSubscribed(bus.failure)));
  const hotKeys = openHotKeys(options, memory, loader, tasks);
  if (hotKeys !== undefined) closers.push(() => hotKeys.close());
  return {
    options,
    coherence,
    memory,
    redis,
    postgres,
    replicas,
    bus,
    feed,
    loader,
    writer,
    events,
    tasks,
    hotKeys,
    close,
  };
}

function openHotKeys(options: ResolvedOptions, memory: MemoryTier | undefined, loader: Loader, tasks: Tasks) {
  const file = options.memory?.hotKeysFile;
  if (file === undefined || memory === undefined) return undefined;
  return new HotKeys(file, memory, (keys) => tasks.track(loader.loadMany(keys, 'warming')));
}

/** Another class, so that whoever needs no guard has nothing of it in the path of a hit. */
function openMemory(maxBytes: number, guard: boolean, events: Events): MemoryTier {
  if (!guard) return new MemoryTier(maxBytes);
  return new GuardedMemoryTier(maxBytes, ({ userId, adapterName, message }) =>
    events.emit('corrupt', { userId, adapterName, tier: 'memory', reason: message }),
  );
}

/** What was not reported as degraded does not recover: the first connection is no recovery. */
function reporter(events: Events, tier: StorageEvents['degraded'][0]['tier']) {
  let down: Error | undefined;
  let untold = false;
  events.onceOpen(() => untold && down !== undefined && events.tell('degraded', { tier, cause: down }));
  return {
    degraded(cause: Error) {
      down = cause;
      untold = events.storage === undefined;
      events.emit('degraded', { tier, cause });
    },
    recovered(afterMs: number) {
      if (down !== undefined) events.emit('recovered', { tier, afterMs });
      down = undefined;
    },
  };
}

async function resolve(source: PostgresSource, closers: Closer[]): Promise<PostgresSource> {
  if (typeof source !== 'string' || !source.startsWith(EMBEDDED)) return source;
  const server = await startEmbeddedPostgres(source.slice(EMBEDDED.length));
  closers.push(() => server.stop());
  // Nobody else looks after the schema of a private server.
  await migrate({ postgres: server.config });
  return server.config;
}

function notSubscribed(cause: Error | undefined): Error {
  const refused = cause?.name === 'ReplyError';
  return new Error(
    refused ? `Redis refuses the subscription: ${cause.message}` : 'Redis has not acknowledged the subscription yet',
    { cause },
  );
}

function directConfig(source: PostgresSource) {
  return isPool(source) ? connectionOf(source.options) : checkedConfig('postgres.direct', source);
}
