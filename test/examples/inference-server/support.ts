/**
 * Inference servers of a test file, over one database and one Redis namespace, closed at its end. The example imports the
 * package by name, so that its storage has to come from there as well: an error of src is no error of dist.
 */
import type { FastifyInstance } from 'fastify';
import { LoRAStorage, type LoRAStorageOptions } from 'lora-store';
import { afterAll } from 'vitest';
import { redisUrl } from '../../support/redis.js';
import { type Bench, useStorage } from '../../support/storage.js';

/** As examples/inference-server/server.js says. */
export interface ServerOptions {
  host?: string;
  token?: string;
  catalogue?: object;
  observe?(message: Message): void;
  logLevel?: string;
  logStream?: { write(line: string): void };
  requestsPerSecond?: number;
  training?: { capacity?: number; concurrency?: number; minEvents?: number; retryMs?: number };
  lifecycle?: { draining: boolean };
}

export type Message = { type: string } & Record<string, unknown>;

export const examples = new URL('../../../examples/inference-server/', import.meta.url);

type BuildServer = (options: ServerOptions & { storage: LoRAStorage }) => FastifyInstance;

/** Plain JavaScript, of which the tests' tsconfig knows nothing. */
export const { buildServer } = (await import(new URL('server.js', examples).href)) as { buildServer: BuildServer };

export interface Serving {
  readonly bench: Bench;
  openStorage(options?: LoRAStorageOptions): Promise<LoRAStorage>;
  serve(options?: ServerOptions & { storage?: LoRAStorage }): Promise<FastifyInstance>;
}

/** Call at the top of a test file. */
export function useServers(): Serving {
  const bench = useStorage();
  const closers: (() => Promise<unknown>)[] = [];
  // Before those of useStorage, which drop the database: the last one registered is the first to run.
  afterAll(async () => {
    for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
  });
  const openStorage = async (options: LoRAStorageOptions = {}) => {
    const patience = { redisTimeoutMs: 5000, maxStalenessMs: 5000, postgresTimeoutMs: 10_000 };
    const place = { postgres: bench.postgresUrl, redis: redisUrl(), namespace: bench.namespace };
    const storage = await LoRAStorage.open({ ...place, ...patience, createMissingUsers: true, ...options });
    closers.push(() => storage.close());
    return storage;
  };
  return {
    bench,
    openStorage,
    async serve({ storage, ...options } = {}) {
      const app = buildServer({ storage: storage ?? (await openStorage()), logLevel: 'silent', ...options });
      closers.push(() => app.close());
      await app.ready();
      return app;
    },
  };
}

/** Ten of a user who likes drama, and leaves news at once. */
export const events = Array.from({ length: 10 }, (_, i) =>
  i % 2 === 0
    ? { contentId: `drama-0${1 + i / 2}`, completionRate: 1, rating: 5, isRewatch: true }
    : { contentId: `news-0${(1 + i) / 2}`, completionRate: 0, rating: 1 },
);
export const candidates = ['news-06', 'drama-06', 'news-07', 'drama-07'];
