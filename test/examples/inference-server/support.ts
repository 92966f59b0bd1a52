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
  observe?(message: Message): void;
  logLevel?: string;
  logStream?: { write(line: string): void };
  requestsPerSecond?: number;
  catalogue?: Catalogue;
  catalogueTimeoutMs?: number;
  training?: { capacity?: number; concurrency?: number; minEvents?: number; retryMs?: number; drainMs?: number };
  lifecycle?: { draining: boolean };
}

export interface Catalogue {
  embeddings(contentIds: readonly string[]): Embeddings | Promise<Embeddings>;
  preference(userId: string): Float32Array | Promise<Float32Array>;
}

type Embeddings = (Float32Array | undefined)[];

export type Message = { type: string } & Record<string, unknown>;

export const examples = new URL('../../../examples/inference-server/', import.meta.url);

type BuildServer = (options: ServerOptions & { storage: LoRAStorage }) => FastifyInstance;

/** Plain JavaScript, of which the tests' tsconfig knows nothing. */
export const { buildServer } = (await import(new URL('server.js', examples).href)) as { buildServer: BuildServer };
export const { catalogue } = (await import(new URL('catalogue.js', examples).href)) as { catalogue: Catalogue };

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
      const quiet = { logLevel: 'silent', catalogueTimeoutMs: 60_000 };
      const app = buildServer({ storage: storage ?? (await openStorage()), ...quiet, ...options });
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

export interface Answer {
  readonly status: number;
  readonly type: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever JSON it is, to be compared.
  readonly body: any;
  readonly headers: Record<string, unknown>;
}

export type Request = [method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object | undefined, headers?: object];

/** An answer in JSON. */
export async function ask(app: FastifyInstance, ...[method, url, payload, headers = {}]: Request): Promise<Answer> {
  const answer = await app.inject({ method, url, headers: { ...headers }, ...(payload && { payload }) });
  const type = String(answer.headers['content-type']).replace('; charset=utf-8', '');
  return { status: answer.statusCode, type, body: answer.json(), headers: answer.headers };
}

/** What is the same of every problem. */
export async function problemOf(app: FastifyInstance, ...request: Request): Promise<[status: number, type: string]> {
  const { status, type, body } = await ask(app, ...request);
  if (type !== 'application/problem+json' || body.status !== status || !body.title || !body.detail) {
    throw new Error(`no problem: ${status} ${type} ${JSON.stringify(body)}`);
  }
  return [status, body.type.replace('urn:lora-store:problem:', '')];
}

/** The value of a series, such as 'lora_loads_total{tier="redis"}'; 0 where there is none. */
export async function metric(app: FastifyInstance, series: string): Promise<number> {
  const { body } = await app.inject('/metrics');
  const line = body.split('\n').find((text) => text.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? 0);
}

/** What became of the events that a server accepted. */
export async function eventCounts(app: FastifyInstance) {
  const { body } = await app.inject('/metrics');
  const of = (state: string) =>
    Number(new RegExp(`^lora_training_events\\{state="${state}"\\} (\\d+)$`, 'm').exec(body)?.[1]);
  return { accepted: of('accepted'), waiting: of('waiting'), trained: of('trained'), dropped: of('dropped') };
}

/** A catalogue that keeps whoever trains waiting, at the first of the two things that are asked of it. */
export function gatedCatalogue() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const gate = { held: 0, open: () => open() };
  const preference = async (userId: string) => {
    gate.held++;
    await opened;
    return await catalogue.preference(userId);
  };
  return { gate, catalogue: { ...catalogue, preference } };
}
