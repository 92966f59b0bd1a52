/**
 * What the tests know of a server, wherever it runs, and the recipes by which a test file starts one of its own.
 * Recipes are plain data: the global setup finds them once and hands them to every test process.
 */

/** A server that belongs to whoever started it. Port and data stay the same from start to stop. */
export interface OwnServer {
  readonly url: string;
  readonly port: number;
  /** Ends it for good and removes its data. May be called twice. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash or the OOM killer would. The data stays for `restart`. */
  kill(): Promise<void>;
  /** Starts it again on the same port and data, after a kill, or kills it first. */
  restart(): Promise<void>;
  /** SIGSTOP: its connections stay open, new ones are accepted by the kernel, and nothing is answered. */
  pause(): Promise<void>;
  resume(): Promise<void>;
}

/** Executables on this machine. */
export interface BinaryRecipe {
  readonly kind: 'binary';
  /** Directory that holds initdb and postgres, or redis-server. */
  readonly directory: string;
  readonly executable: string;
  /** Where the dynamic linker looks first. Needed for binaries that were unpacked and not installed. */
  readonly libraryPath?: string;
}

/** An image for testcontainers. */
export interface ContainerRecipe {
  readonly kind: 'container';
  readonly image: string;
  /** Label of every container of this run, by which the global setup finds what a crashed test left. */
  readonly run: string;
}

export type Recipe = BinaryRecipe | ContainerRecipe;

/** Why no server of one's own can be started here. */
export interface NoRecipe {
  readonly kind: 'none';
  readonly reason: string;
}

/** Settings a test adds: `name=value` of postgresql.conf, or of redis.conf. */
export type ServerSettings = Readonly<Record<string, string>>;

/** The user, password and first database of every Postgres that we start. */
export const postgresLogin = { user: 'postgres', password: 'test-only', database: 'postgres' } as const;

export function postgresUrl(port: number, host = '127.0.0.1'): string {
  const { user, password, database } = postgresLogin;
  return `postgres://${user}:${password}@${host}:${port}/${database}`;
}

export function redisUrlAt(port: number, host = '127.0.0.1'): string {
  return `redis://${host}:${port}`;
}
