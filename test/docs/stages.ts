/**
 * Blocks that name servers which a page's project has not, and what tests start in their place: each runs as it stands but for
 * the addresses, and what it opened is then shown to work. A stage that fits no block, or several, is an error.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { LoRAStorage, migrate } from '../../src/index.js';
import { createDatabase } from '../support/database.js';
import { startPgBouncer } from '../support/pgbouncer.js';
import { startPostgres } from '../support/postgres.js';
import { localRedisRecipe, startRedis, startRedisProcess } from '../support/redis.js';
import { TestRedisCluster } from '../support/redis-cluster.js';
import { TestSentinels } from '../support/redis-sentinel.js';
import { TestReplication } from '../support/replication.js';
import { root } from '../support/root.js';
import { smallAdapter } from '../support/storage.js';
import { withClient } from '../support/template.js';
import { startTls } from '../support/tls.js';
import type { Block } from './page.js';
import type { Project } from './project.js';
import { runners } from './runners.js';

/** What a program says in the end, and so that it came so far. */
const WORKS = 'it works';

interface Scene {
  /** What stands for these words of the block, each of which it has. */
  readonly instead: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  stop(): Promise<unknown>;
}

export interface Stage {
  readonly page: string;
  /** In the block, and in no other of the page. */
  readonly shown: string;
  /** How the program, or the shell, goes on, where the block has `// …`, or behind it. */
  readonly goesOn: string;
  start(project: Project): Promise<Scene>;
}

/** Until then. */
const WELL_MS = 40_000;
/** Waits until each server of that storage is up and heard. */
const isWell = (storage: string) => `
  for (const until = Date.now() + ${WELL_MS}; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const { replicas = [], ...servers } = await ${storage}.health();
    const states = [...Object.values(servers), ...replicas];
    if (states.every((state) => state === 'up' || state === 'live')) break;
    if (Date.now() > until) throw new Error(\`not well: \${JSON.stringify({ replicas, ...servers })}\`);
  }
  await ${storage}.countAdapters('7c9e6679-7425-40de-944b-e07fc1f90ae7');`;
const works = `console.log('${WORKS}');`;
const worksAndCloses = `${isWell('storage')}\nawait storage.close();\n${works}`;

const USER = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const hasTheVersion = `npx lora-store list ${USER} --json | grep -q '"latest": *true' && echo '${WORKS}'`;

export const stages: readonly Stage[] = [
  {
    page: 'docs/scaling.md',
    shown: 'process.env.SHARDS',
    goesOn: `for (const shard of shards) { ${isWell('shard')} }
      const ids = ['7c9e6679-7425-40de-944b-e07fc1f90000', '7c9e6679-7425-40de-944b-e07fc1f90001'];
      if (ids.some((id, i) => storageOf(id) !== shards[i])) throw new Error('one user is at the shard of another');
      for (const shard of shards) await shard.close();
      ${works}`,
    async start() {
      const databases = await Promise.all([createDatabase(), createDatabase()]);
      return {
        instead: {},
        env: { SHARDS: databases.map(({ url }) => url).join(',') },
        stop: () => Promise.all(databases.map((database) => database.drop())),
      };
    },
  },
  {
    page: 'docs/scaling.md',
    shown: 'sentinels: [',
    goesOn: worksAndCloses,
    async start() {
      const redis = await TestSentinels.start();
      const { sentinels, name } = redis.options;
      const addresses = sentinels.map(({ port }, i) => [`host: 'sentinel-${i + 1}', port: 26379`, atPort(port)]);
      return {
        instead: { ...Object.fromEntries(addresses), "name: 'mymaster'": `name: '${name}'` },
        stop: () => redis.stop(),
      };
    },
  },
  {
    page: 'docs/scaling.md',
    shown: 'new Cluster(',
    goesOn: `${isWell('storage')}\n${works}`,
    async start() {
      const redis = await TestRedisCluster.start();
      const [one, other] = redis.startup.map(({ port }) => port);
      return {
        instead: { "host: 'redis-1', port: 6379": atPort(one), "host: 'redis-2', port: 6379": atPort(other) },
        stop: () => redis.stop(),
      };
    },
  },
  {
    page: 'docs/scaling.md',
    shown: 'pgbouncer:6432',
    goesOn: worksAndCloses,
    async start() {
      const database = await createDatabase();
      const pooler = await startPgBouncer(database.url, 2);
      return {
        instead: { 'postgres://app@pgbouncer:6432/app': pooler.url, 'postgres://app@db:5432/app': database.url },
        async stop() {
          await pooler.stop();
          await database.drop();
        },
      };
    },
  },
  {
    page: 'docs/scaling.md',
    shown: 'replicas: [',
    goesOn: worksAndCloses,
    async start() {
      const replication = await TestReplication.start();
      const { primary } = replication;
      await migrate({ postgres: primary.url });
      const servers = [primary, await replication.standby(), await replication.standby()];
      return {
        instead: Object.fromEntries(servers.map(({ url }, i) => [`postgres://app@db-${i + 1}:5432/app`, url])),
        stop: () => replication.stop(),
      };
    },
  },
  {
    page: 'docs/operations.md',
    shown: "host: 'redis.internal'",
    goesOn: worksAndCloses,
    async start({ directory }) {
      const redis = await startRedis();
      const front = await startTls(redis.url);
      const password = 'only for this';
      const rules = readFileSync(join(root, 'docs/redis.acl'), 'utf8').trim().split(/\s+/);
      const admin = new Redis(redis.url);
      await admin.call('ACL', 'SETUSER', 'lora', 'on', `>${password}`, ...rules);
      admin.disconnect();
      copyFileSync(front.certificate, join(directory, 'ca.pem'));
      return {
        instead: { "host: 'redis.internal', port: 6380": `host: 'localhost', port: ${front.port}` },
        env: { LORA_REDIS_PASSWORD: password },
        async stop() {
          await front.close();
          await redis.stop();
        },
      };
    },
  },
  {
    page: 'docs/operations.md',
    shown: '--file=users.sql',
    goesOn: hasTheVersion,
    async start(project) {
      const [source, target] = await Promise.all([createDatabase(), createDatabase()]);
      await saveOne(source.url);
      await project.run('pg_dump', ['--format=custom', '--file=lora.dump', source.url]);
      return {
        instead: {},
        env: { DATABASE_URL: target.url },
        stop: () => Promise.all([source.drop(), target.drop()]),
      };
    },
  },
  {
    page: 'docs/operations.md',
    shown: '$OLD_DATABASE_URL',
    goesOn: hasTheVersion,
    async start() {
      const [source, target] = await Promise.all([createDatabase(), createDatabase()]);
      await saveOne(source.url);
      await withClient(target.url, (client) => client.query('insert into users values ($1)', [USER]));
      return {
        instead: {},
        env: { OLD_DATABASE_URL: source.url, DATABASE_URL: target.url },
        stop: () => Promise.all([source.drop(), target.drop()]),
      };
    },
  },
  {
    page: 'docs/operations.md',
    shown: '--file=docs/sql/roles.sql',
    goesOn: `psql -XAt --command="select has_table_privilege('lora_app', 'lora_adapters', 'insert')" "$OWNER_DATABASE_URL" |
      grep -qx t && echo '${WORKS}'`,
    async start() {
      const server = await startPostgres();
      const owner = new URL(server.url);
      [owner.username, owner.password] = ['lora_owner', 'only for this'];
      // The page leaves passwords to its reader: here they are there before, and the script may be run again.
      await withClient(server.url, async (client) => {
        await client.query(readFileSync(join(root, 'docs/sql/roles.sql'), 'utf8'));
        await client.query(`alter role lora_owner password 'only for this'`);
      });
      return {
        instead: {},
        env: { ADMIN_DATABASE_URL: server.url, OWNER_DATABASE_URL: owner.href },
        stop: () => server.stop(),
      };
    },
  },
  {
    page: 'docs/operations.md',
    shown: 'xargs redis-cli ACL SETUSER',
    goesOn: `test "$(REDISCLI_AUTH="$LORA_REDIS_PASSWORD" redis-cli --user lora PING)" = PONG
      grep -q '^user lora on' redis/users.acl && echo '${WORKS}'`,
    async start({ directory }) {
      const own = join(directory, 'redis');
      mkdirSync(own);
      // Whoever runs the server writes there.
      chmodSync(own, 0o777);
      writeFileSync(join(own, 'users.acl'), '');
      const recipe = await localRedisRecipe();
      const redis = await startRedisProcess({ aclfile: join(own, 'users.acl') });
      const client = join(recipe.directory, recipe.executable.replace('server', 'cli'));
      writeFileSync(join(own, 'redis-cli'), `#!/bin/sh\nexec '${client}' -p ${redis.port} "$@"\n`, { mode: 0o755 });
      const libraries = recipe.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: recipe.libraryPath };
      return {
        instead: { 'xargs redis-cli': `PATH="${own}:$PATH"; xargs redis-cli` },
        env: { LORA_REDIS_PASSWORD: 'only for this', ...libraries },
        stop: () => redis.stop(),
      };
    },
  },
];

/** Of a user with one version, which the other database has not. */
async function saveOne(postgres: string): Promise<void> {
  await using storage = await LoRAStorage.open({ postgres, redis: false, createMissingUsers: true });
  await storage.saveAdapter(smallAdapter(USER));
}

function atPort(port: number | undefined): string {
  return `host: '127.0.0.1', port: ${port}`;
}

export function stageOf(block: Block): Stage | undefined {
  return stages.find(({ page, shown }) => page === block.page && block.code.includes(shown));
}

/** What it printed. Throws unless the block runs on its stage, and what it opened works. */
export async function perform(stage: Stage, block: Block, project: Project): Promise<string> {
  const scene = await stage.start(project);
  try {
    const code = goneOn(translated(block.code, scene.instead), stage.goesOn);
    const printed = await runners[block.language]?.({ ...block, code }, project.with(scene.env ?? {}));
    if (!printed?.endsWith(`${WORKS}\n`)) throw new Error(`it did not come to its end: ${printed}`);
    return printed;
  } finally {
    await scene.stop();
  }
}

function translated(code: string, instead: Scene['instead']): string {
  return Object.entries(instead).reduce((text, [words, others]) => {
    if (!text.includes(words)) throw new Error(`the block does not have: ${words}`);
    return text.replaceAll(words, () => others);
  }, code);
}

function goneOn(code: string, rest: string): string {
  return /^\/\/ …$/m.test(code) ? code.replace(/^\/\/ …$/m, () => rest) : `${code}\n${rest}\n`;
}
