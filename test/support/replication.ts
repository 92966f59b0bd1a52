/** A primary with standbys by streaming replication, on loopback, and the moments of a failover one by one. */
import { join } from 'node:path';
import pg from 'pg';
import { inject } from 'vitest';
import './provided.js';
import { root } from './root.js';
import { postgresFromApt } from './servers/apt-postgres.js';
import { startLocalPostgres, startLocalStandby } from './servers/local-postgres.js';
import type { BinaryRecipe, OwnServer } from './servers/server.js';
import { waitFor } from './wait.js';

/** A server, and a session there as whoever may do anything. */
export class ReplicatedServer {
  readonly server: OwnServer;
  #client: pg.Client;

  private constructor(server: OwnServer, client: pg.Client) {
    this.server = server;
    this.#client = client;
  }

  static async of(server: OwnServer): Promise<ReplicatedServer> {
    return new ReplicatedServer(server, await connected(server));
  }

  get url(): string {
    return this.server.url;
  }

  async sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> {
    return (await this.#client.query<Row>(text, values)).rows;
  }

  /** Of a standby: what it shows stands still, while it goes on receiving. */
  async pauseReplay(): Promise<void> {
    await this.sql('select pg_wal_replay_pause()');
    await waitFor(async () => {
      const [row] = await this.sql('select pg_is_wal_replay_paused() as paused');
      return row?.paused;
    });
  }

  async resumeReplay(): Promise<void> {
    await this.sql('select pg_wal_replay_resume()');
  }

  /** Of a standby: it takes writes from now on, whatever its primary does. */
  async promote(): Promise<void> {
    await this.sql('select pg_promote(true)');
  }

  /** Killed, and started again on the same data. */
  async restart(): Promise<void> {
    await this.server.restart();
    await this.#client.end().catch(() => undefined);
    this.#client = await connected(this.server);
  }

  async stop(): Promise<void> {
    await this.#client.end().catch(() => undefined);
    await this.server.stop();
  }
}

export class TestReplication {
  readonly primary: ReplicatedServer;
  readonly #recipe: BinaryRecipe;
  readonly #servers: ReplicatedServer[];

  private constructor(recipe: BinaryRecipe, primary: ReplicatedServer) {
    this.#recipe = recipe;
    this.primary = primary;
    this.#servers = [primary];
  }

  /** Always on this machine itself: a standby begins with a copy of the primary's files. */
  static async start(): Promise<TestReplication> {
    const { recipe } = inject('servers').postgres;
    const local = recipe.kind === 'binary' ? recipe : await postgresFromApt(join(root, '.cache'));
    // A standby that is slow while the primary is killed still finds what it needs there: each copy begins a segment.
    const primary = await startLocalPostgres(local, { wal_keep_size: '512MB' });
    return new TestReplication(local, await ReplicatedServer.of(primary));
  }

  /** A standby of `of`, which begins with a copy of its files; `upstream`: from where it goes on, a standby of the same. */
  async standby(of: ReplicatedServer = this.primary, upstream = of): Promise<ReplicatedServer> {
    const standby = await ReplicatedServer.of(await startLocalStandby(this.#recipe, of.server, upstream.server));
    this.#servers.push(standby);
    return standby;
  }

  /** Waits until `standby` shows what the primary has committed by now. */
  async caughtUp(standby: ReplicatedServer, primary = this.primary): Promise<void> {
    const [row] = await primary.sql<{ lsn: string }>('select pg_current_wal_lsn()::text as lsn');
    await waitFor(async () => {
      const [{ there } = { there: false }] = await standby.sql<{ there: boolean }>(
        'select pg_last_wal_replay_lsn() >= $1::pg_lsn as there',
        [row?.lsn],
      );
      return there;
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((each) => each.stop()));
  }
}

async function connected(server: OwnServer): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.url });
  // A server that is killed takes it along.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
