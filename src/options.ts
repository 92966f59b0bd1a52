/**
 * The caller's options, parsed once into one frozen object with every default filled in. A misspelled or impossible
 * option is refused by name; the caller's object is never changed.
 */
import type { Cluster, Redis, RedisOptions } from 'ioredis';
import type { Pool, PoolConfig } from 'pg';

/** A URL, a pg PoolConfig, or a pg Pool of the caller's. `embedded:./dir` runs a private Postgres under ./dir. */
export type PostgresSource = string | PoolConfig | Pool;

/** A URL, ioredis options, or a connected client of the caller's. */
export type RedisSource = string | RedisOptions | Redis | Cluster;

export interface LoRAStorageOptions {
  /**
   * System of record. A URL, a pg PoolConfig, or a pg Pool of yours (left open by close()).
   * 'embedded:./dir' runs a private Postgres under ./dir. The object form adds standbys of the primary that loads ask
   * first (needs the change feed), and a direct connection for LISTEN, to the same database, where `primary` is a pooler
   * such as PgBouncer. Default: DATABASE_URL.
   */
  postgres?: PostgresSource | { primary: PostgresSource; replicas?: PostgresSource[]; direct?: PostgresSource };
  /** Shared cache and invalidation bus. A URL, ioredis options, or a Redis/Cluster of yours. Default: REDIS_URL; absent or false: no Redis tier. */
  redis?: RedisSource | false;
  /**
   * In-process cache. maxBytes counts adapter bytes; default 256 MiB. hotKeysFile: close() writes there what memory holds,
   * by name, and the next open() loads that in the background. false: no memory tier.
   */
  memory?: { maxBytes?: number; hotKeysFile?: string } | false;
  /** Prefix of every Redis key and channel. Default 'lora'. */
  namespace?: string;
  /** How long a cached entry may be served after its head was last known to be the latest, in ms. Default 1000. */
  maxStalenessMs?: number;
  /** Beyond that, how long it may still be served, flagged stale, while Postgres cannot be asked. Default 60000; 0: never. */
  staleIfErrorMs?: number;
  /** Budget of one Redis read before Postgres is asked instead, in ms. Default 50. */
  redisTimeoutMs?: number;
  /** Lifetime of a Redis entry in ms, jittered ±10 %. Default 24 h. */
  redisTtlMs?: number;
  /** Body of a Redis entry. 'f16' halves it, and rounds the weights of copies from there (docs/format.md). Default 'f32'. */
  redisEncoding?: 'f32' | 'f16';
  /**
   * Of all nodes that miss a key in Redis, one asks Postgres; the others wait for what it fills in, for redisTimeoutMs at
   * most. Default true.
   */
  fillLease?: boolean;
  /** Budget to get a connection and an answer from Postgres, in ms. Default 3000. */
  postgresTimeoutMs?: number;
  /** Loads that may wait for Postgres; one more rejects with StorageOverloadedError. Default 10000. */
  maxQueue?: number;
  /** Hear of writes by anyone through Postgres LISTEN/NOTIFY. Default true. */
  changeFeed?: boolean;
  /** Insert a missing users row on save. Default false. */
  createMissingUsers?: boolean;
}

type SeveralServers = Exclude<LoRAStorageOptions['postgres'], PostgresSource | undefined>;

export interface ResolvedOptions {
  readonly postgres: {
    readonly primary: PostgresSource;
    readonly replicas: readonly PostgresSource[];
    readonly direct: PostgresSource | undefined;
  };
  readonly redis: RedisSource | undefined;
  readonly memory: { readonly maxBytes: number; readonly hotKeysFile: string | undefined } | undefined;
  readonly namespace: string;
  readonly maxStalenessMs: number;
  readonly staleIfErrorMs: number;
  readonly redisTimeoutMs: number;
  readonly redisTtlMs: number;
  readonly fillLease: boolean;
  readonly postgresTimeoutMs: number;
  readonly maxQueue: number;
  readonly changeFeed: boolean;
  readonly createMissingUsers: boolean;
  /** LORA_STORE_GUARD: memory sums each entry up again when it is used. */
  readonly guard: boolean;
  readonly redisEncoding: 'f32' | 'f16';
}

const KNOWN = [
  'postgres',
  'redis',
  'memory',
  'namespace',
  'maxStalenessMs',
  'staleIfErrorMs',
  'redisTimeoutMs',
  'redisTtlMs',
  'redisEncoding',
  'fillLease',
  'postgresTimeoutMs',
  'maxQueue',
  'changeFeed',
  'createMissingUsers',
] as const satisfies readonly (keyof LoRAStorageOptions)[];

/** Node's timers wrap beyond 2^31 - 1 ms, and fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Defaults filled in, or a TypeError/RangeError that names the option. */
export function parseOptions(options: LoRAStorageOptions = {}, env: NodeJS.ProcessEnv = process.env): ResolvedOptions {
  if (typeof options !== 'object' || options === null) throw new TypeError('options must be an object');
  refuseUnknown('option', options, KNOWN);
  const postgres = Object.freeze(parsePostgres(options.postgres ?? env.DATABASE_URL));
  if (postgres.replicas.length > 0 && options.changeFeed === false)
    throw new TypeError(
      'option postgres.replicas needs the change feed, by which their answers are judged: set changeFeed, or leave them out',
    );
  return Object.freeze({
    postgres,
    redis: parseRedis(options.redis ?? env.REDIS_URL),
    memory: parseMemory(options.memory),
    namespace: parseNamespace(options.namespace),
    maxStalenessMs: integer('maxStalenessMs', options.maxStalenessMs, 1000, 1),
    staleIfErrorMs: integer('staleIfErrorMs', options.staleIfErrorMs, 60_000, 0),
    redisTimeoutMs: integer('redisTimeoutMs', options.redisTimeoutMs, 50, 1),
    redisTtlMs: integer('redisTtlMs', options.redisTtlMs, 24 * 3_600_000, 100),
    fillLease: flag('fillLease', options.fillLease, true),
    postgresTimeoutMs: integer('postgresTimeoutMs', options.postgresTimeoutMs, 3000, 1),
    maxQueue: integer('maxQueue', options.maxQueue, 10_000, 0),
    changeFeed: flag('changeFeed', options.changeFeed, true),
    createMissingUsers: flag('createMissingUsers', options.createMissingUsers, false),
    guard: parseGuard(env.LORA_STORE_GUARD),
    redisEncoding: parseEncoding(options.redisEncoding),
  });
}

/** True for the pg Pool of a caller, whichever copy of pg made it. */
export function isPool(source: PostgresSource): source is Pool {
  return typeof source === 'object' && 'connect' in source && typeof source.connect === 'function';
}

/** True for an ioredis client of the caller's, standalone or cluster. */
export function isRedisClient(source: RedisSource): source is Redis | Cluster {
  return typeof source === 'object' && 'duplicate' in source && typeof source.duplicate === 'function';
}

function parsePostgres(source: LoRAStorageOptions['postgres']): ResolvedOptions['postgres'] {
  if (source === undefined || source === '') {
    throw new TypeError("no Postgres: set DATABASE_URL, or pass the option postgres (a URL, or 'embedded:./dir')");
  }
  if (isSeveral(source)) {
    refuseUnknown('option postgres.', source, ['primary', 'replicas', 'direct']);
    const direct = source.direct === undefined ? undefined : postgresSource('postgres.direct', source.direct);
    if (typeof direct === 'string' && direct.startsWith('embedded:')) {
      throw new TypeError(
        'option postgres.direct is for a server behind a pooler: an embedded one has none, leave it out',
      );
    }
    const replicas = parseReplicas(source.replicas);
    return { primary: postgresSource('postgres.primary', source.primary), replicas, direct };
  }
  return { primary: postgresSource('postgres (or DATABASE_URL)', source), replicas: [], direct: undefined };
}

/** One of these names is enough: without a primary it is a mistake, and no PoolConfig. */
function isSeveral(source: object | string): source is SeveralServers {
  return typeof source === 'object' && ['primary', 'replicas', 'direct'].some((name) => name in source);
}

function parseReplicas(replicas: readonly PostgresSource[] = []): readonly PostgresSource[] {
  if (!Array.isArray(replicas))
    throw new TypeError('option postgres.replicas must be an array, of what postgres takes');
  return replicas.map((replica: PostgresSource, i) => {
    const name = `postgres.replicas[${i}]`;
    const source = postgresSource(name, replica);
    if (typeof source !== 'string' || !source.startsWith('embedded:')) return source;
    throw new TypeError(`option ${name} names a standby of the primary: an embedded server is none, leave it out`);
  });
}

function postgresSource(name: string, source: PostgresSource): PostgresSource {
  if (typeof source === 'string') {
    if (/^(postgres(ql)?:|socket:|embedded:|\/)/.test(source)) return source;
  } else if (typeof source === 'object' && source !== null) return source;
  throw new TypeError(`option ${name} must be a postgres:// URL, 'embedded:./dir', a pg PoolConfig or a pg Pool`);
}

function parseRedis(source: LoRAStorageOptions['redis']): RedisSource | undefined {
  if (source === undefined || source === false || source === '') return undefined;
  if (typeof source === 'string' ? /^(rediss?:\/\/|\/)/.test(source) : typeof source === 'object' && source)
    return source;
  throw new TypeError(
    'option redis (or REDIS_URL) must be a redis:// URL, ioredis options, an ioredis client, or false',
  );
}

function parseMemory(memory: LoRAStorageOptions['memory']): ResolvedOptions['memory'] {
  if (memory === false) return undefined;
  if (memory !== undefined && (typeof memory !== 'object' || memory === null)) {
    throw new TypeError('option memory must be false or { maxBytes, hotKeysFile }');
  }
  refuseUnknown('option memory.', memory ?? {}, ['maxBytes', 'hotKeysFile']);
  return Object.freeze({
    maxBytes: integer('memory.maxBytes', memory?.maxBytes, 256 * 1024 * 1024, 1, 2 ** 53 - 1),
    hotKeysFile: parsePath('memory.hotKeysFile', memory?.hotKeysFile),
  });
}

function parsePath(name: string, path: string | undefined): string | undefined {
  if (path === undefined || (typeof path === 'string' && path !== '' && !path.includes('\0'))) return path;
  throw new TypeError(`option ${name} must be the path of a file`);
}

function parseEncoding(encoding: LoRAStorageOptions['redisEncoding'] = 'f32'): 'f32' | 'f16' {
  if (encoding === 'f32' || encoding === 'f16') return encoding;
  throw new RangeError(`option redisEncoding is 'f32' or 'f16', not ${JSON.stringify(encoding)}`);
}

function parseGuard(value = '0'): boolean {
  if (value === '1') return true;
  if (value === '0' || value === '') return false;
  throw new TypeError(`LORA_STORE_GUARD is '${value}': set it to 1, or unset it`);
}

function parseNamespace(namespace = 'lora'): string {
  // A brace would move the cluster's hash tag away from the user id, and white space makes keys nobody can type.
  if (typeof namespace === 'string' && /^[^\s{}]{1,64}$/u.test(namespace)) return namespace;
  throw new TypeError('option namespace must be 1 to 64 characters without white space or braces');
}

function integer(name: string, value: number | undefined, fallback: number, min: number, max = MAX_TIMER_MS): number {
  if (value === undefined) return fallback;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new RangeError(`option ${name} must be a whole number from ${min} to ${max}, not ${String(value)}`);
}

function flag(name: string, value: boolean | undefined, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value === 'boolean') return value;
  throw new TypeError(`option ${name} must be true or false`);
}

function refuseUnknown(what: string, given: object, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (!known.includes(name))
      throw new TypeError(`unknown ${what}${what.endsWith('.') ? '' : ' '}${name}; known: ${known.join(', ')}`);
  }
}
