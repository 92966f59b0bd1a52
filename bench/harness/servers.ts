/** Servers of a case's own, with the schema in them: found as the tests find theirs, ended with the case, and described. */
import { chmodSync } from 'node:fs';
import { Redis } from 'ioredis';
import { migrate } from 'lora-store';
import pg from 'pg';
import { noServer, orderOfChoices, ownServers, type Refusal } from '../../test/support/servers/choices.js';
import { removeContainersOf } from '../../test/support/servers/containers.js';
import { Daemon } from '../../test/support/servers/daemon.js';
import { type Found, findPostgresServer, findRedisServer, type Run } from '../../test/support/servers/recipes.js';
import type { OwnServer, ServerSettings } from '../../test/support/servers/server.js';

export interface Servers {
  /** Migrated. settings: of postgresql.conf, over those of test/support/servers/local-postgres.ts: fsync is off there. */
  postgres(settings?: ServerSettings): Promise<OwnServer>;
  /** settings: of redis.conf. It writes no file unless they say so. */
  redis(settings?: ServerSettings): Promise<OwnServer>;
  readonly descriptions: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** What of a server's settings decides how fast it is. */
const TELLING = ['fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'wal_level'];

export function serversOf(name: string): Servers {
  const scratch = new Daemon('bench');
  chmodSync(scratch.home, 0o755);
  const run: Run = { name: `bench-${name}-${process.pid}`, scratch: scratch.home, env: process.env };
  // A server at a URL may be busy with something else, and its settings are not ours to choose.
  const { LORA_STORE_TEST_SERVERS } = process.env;
  const order = LORA_STORE_TEST_SERVERS ? orderOfChoices({ LORA_STORE_TEST_SERVERS }) : ownServers;
  const started: Found[] = [];
  const descriptions: Record<string, string> = {};

  return {
    descriptions,

    async postgres(settings) {
      const refusals: Refusal[] = [];
      const found = await findPostgresServer(order.postgres, run, refusals, settings);
      if (found === undefined) throw noServer('Postgres', refusals);
      started.push(found);
      const { url } = found.server;
      await migrate({ postgres: url });
      descriptions.postgres = await describePostgres(url);
      return found.server;
    },

    async redis(settings) {
      const refusals: Refusal[] = [];
      const found = await findRedisServer(order.redis, run, refusals, settings);
      if (found === undefined) throw noServer('Redis', refusals);
      started.push(found);
      descriptions.redis = await describeRedis(found.server.url);
      return found.server;
    },

    async stop() {
      await Promise.all(started.map(({ server }) => server.stop()));
      if (started.some(({ recipe }) => recipe.kind === 'container')) await removeContainersOf(run.name);
      await scratch.stop();
    },
  };
}

async function describePostgres(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string; value: string }>(
      'SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY($1) ORDER BY array_position($1, name)',
      [['server_version', ...TELLING]],
    );
    const [version, ...rest] = rows;
    return [version?.value, ...rest.map(({ name, value }) => `${name} ${value}`)].join(', ');
  } finally {
    await client.end();
  }
}

async function describeRedis(url: string): Promise<string> {
  const client = new Redis(url);
  try {
    const info = await client.info('server');
    const save = await client.config('GET', 'save');
    const maxmemory = await client.config('GET', 'maxmemory');
    const version = /(?:redis|valkey)_version:(\S+)/.exec(info)?.[1] ?? 'of unknown version';
    return `${version}, save "${settingOf(save)}", maxmemory ${settingOf(maxmemory)}`;
  } finally {
    client.disconnect();
  }
}

/** CONFIG GET answers with pairs, as a list or, in RESP3, as a map. */
function settingOf(answer: unknown): string {
  const values = Array.isArray(answer) ? answer.flat() : Object.entries(answer as object).flat();
  return String(values[1] ?? '');
}
