/** Storage objects of a test file over one database and one Redis namespace, closed and dropped at its end. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import type { LoRAStorageOptions } from '../../src/options.js';
import { LoRAStorage } from '../../src/storage/lora-storage.js';
import { createDatabase, type TestDatabase } from './database.js';
import { endPool } from './pools.js';
import { redisNamespace, redisUrl } from './redis.js';

export interface Bench {
  /** Of the file's own migrated database. */
  readonly postgresUrl: string;
  readonly namespace: string;
  /** Opens a node: all three tiers and the change feed unless `options` say otherwise. Closed at the end of the file. */
  open(options?: LoRAStorageOptions): Promise<LoRAStorage>;
  /** As a writer that is not ours, in psql or Rust. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** A user with a row in `users`. */
  user(): Promise<string>;
}

/** Call at the top of a test file; its servers are there from beforeAll on. */
export function useStorage(): Bench {
  const opened: LoRAStorage[] = [];
  let database: TestDatabase;
  let pool: pg.Pool;
  const namespace = { name: '' };

  beforeAll(async () => {
    database = await createDatabase();
    namespace.name = redisNamespace();
    pool = new pg.Pool({ connectionString: database.url, max: 4 });
  });
  afterAll(async () => {
    await Promise.all(opened.map((storage) => storage.close()));
    await endPool(pool);
    await database?.drop();
  });

  return {
    get postgresUrl() {
      return database.url;
    },
    get namespace() {
      return namespace.name;
    },
    async open(options = {}) {
      // Budgets for a busy machine: what a test waits for must not be lost to a slow moment. Tests of budgets set their own.
      const patience = { redisTimeoutMs: 5000, maxStalenessMs: 5000, postgresTimeoutMs: 10_000 };
      const defaults = { postgres: database.url, redis: redisUrl(), namespace: namespace.name, ...patience };
      const storage = await LoRAStorage.open({ ...defaults, ...options });
      opened.push(storage);
      return storage;
    },
    async sql(text, values) {
      return (await pool.query(text, values)).rows;
    },
    async user() {
      const id = randomUUID();
      await pool.query('insert into users (id) values ($1)', [id]);
      return id;
    },
  };
}

/** A small adapter with seeded weights: most tests do not need 41 KB. */
export function smallAdapter(userId: string, seed = 1): UserLoRAAdapter {
  return new UserLoRAAdapter(userId, { rank: 2, inputDim: 3, outputDim: 4 }).initializeRandom(seed);
}
