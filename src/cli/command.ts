/**
 * What every command has in common: where its servers are, --json, an example in its help, and an orderly end. A command
 * gets a context; whatever it opened there is closed behind it, also after Ctrl-C.
 */
import type { Command } from 'commander';
import type { RedisOptions } from 'ioredis';
import { within } from '../deadline.js';
import { StorageUnavailableError } from '../errors.js';
import type { Cache } from '../operations/audit-redis.js';
import type { Patient } from '../operations/doctor/finding.js';
import { Tables } from '../operations/tables.js';
import { type LoRAStorageOptions, parseOptions } from '../options.js';
import type { EmbeddedPostgres } from '../postgres/embedded.js';
import { LoRAStorage } from '../storage/lora-storage.js';
import { connectRedis } from '../tiers/redis-client.js';
import { PING } from '../tiers/statements.js';
import { seconds } from './arguments.js';
import { serverOf } from './embedded.js';
import { byOptions, type ExitCode, exitCodeOf, UsageError } from './exit.js';
import { Output } from './output.js';

/** Commands look at whole tables, and have more patience than a server that answers requests. */
const TIMEOUT_S = 60;
/** A command speaks to Redis a few times, perhaps from afar. */
const REDIS_TIMEOUT_MS = 10_000;
/** Of one question of the doctor's. */
const EXAMINATION_MS = 10_000;

export interface CommonOptions {
  postgres?: string;
  /** false: --no-redis. */
  readonly redis?: string | boolean;
  readonly namespace?: string;
  readonly json?: boolean;
  /** Of each statement, in seconds. */
  readonly timeout: number;
}

/** Adds `lora-store <usage>`. example: a whole command line, without the program's name. */
export function addCommand(program: Command, usage: string, description: string, example: string): Command {
  return program
    .command(usage)
    .description(description)
    .option('--postgres <url>', "the database, or 'embedded:./dir' (default: DATABASE_URL)")
    .option('--timeout <seconds>', 'how long Postgres may take for a statement', seconds, TIMEOUT_S)
    .option('--json', 'print one JSON document')
    .addHelpText('after', `\nExample:\n  $ lora-store ${example}`);
}

/** Adds where Redis is, for commands that change what is cached there or look at it. */
export function withRedis(command: Command): Command {
  return command
    .option('--redis <url>', 'the cache (default: REDIS_URL)')
    .option('--no-redis', 'leave Redis alone, whatever REDIS_URL says')
    .option('--namespace <name>', 'what keys and channels in Redis begin with (default: lora)');
}

export class Context {
  readonly out: Output;
  /** Aborted by Ctrl-C: what is under way ends well, and no more is begun. And behind a command, so that no input keeps it. */
  readonly signal: AbortSignal;
  readonly #options: CommonOptions;
  readonly #closers: (() => Promise<void>)[] = [];

  constructor(options: CommonOptions, signal: AbortSignal) {
    this.#options = options;
    this.out = new Output({ json: options.json === true });
    this.signal = signal;
  }

  /** A URL, or what stands for one. Throws where there is none. */
  get postgres(): string {
    const { postgres = process.env.DATABASE_URL } = this.#options;
    if (postgres) return postgres;
    throw new UsageError("no Postgres: set DATABASE_URL, or name one with --postgres: a URL, or 'embedded:./dir'");
  }

  get #timeoutMs(): number {
    return 1000 * this.#options.timeout;
  }

  /** A storage with no memory and no ear of its own: a command reads an adapter once. Closed when the command ends. */
  async storage(options: LoRAStorageOptions = {}): Promise<LoRAStorage> {
    const fixed = {
      memory: false,
      changeFeed: false,
      postgresTimeoutMs: this.#timeoutMs,
      redisTimeoutMs: REDIS_TIMEOUT_MS,
    } as const;
    const storage = await byOptions(() => LoRAStorage.open({ ...this.#source(), ...fixed, ...options }));
    storage.on('degraded', ({ tier, cause }) => {
      if (tier === 'redis')
        this.out.note(`Redis does not take this (${cause.message}): nodes hear of it from Postgres`);
    });
    this.#closers.push(() => storage.close());
    return storage;
  }

  /** A few connections to Postgres. Closed when the command ends. */
  async tables(): Promise<Tables> {
    const tables = await this.uncheckedTables();
    await tables.check();
    return tables;
  }

  /** The same of whatever schema. */
  async uncheckedTables(): Promise<Tables> {
    const tables = await byOptions(() => Tables.openUnchecked(this.postgres, this.#timeoutMs));
    this.#closers.push(() => tables.close());
    return tables;
  }

  /** All that there is to examine. Rejects where Postgres does not answer at all. */
  async patient(): Promise<Patient> {
    const options = this.#source();
    const { redis: source } = await byOptions(() => parseOptions(options));
    const off = source === undefined;
    const tables = await byOptions(() => Tables.openUnchecked(this.postgres, EXAMINATION_MS));
    this.#closers.push(() => tables.close());
    await tables.rows(PING, []);
    let cache: Promise<Cache> | undefined;
    // Once for all checks; each of them hears why it is not there.
    const opened = () => {
      cache ??= this.redis();
      return cache;
    };
    return { tables, cache: off ? undefined : opened, options, now: Date.now };
  }

  /** A connection to Redis, and what keys begin with there. Rejects where it does not answer. Closed when the command ends. */
  async redis(): Promise<Cache> {
    const options = await byOptions(() => parseOptions(this.#source()));
    if (options.redis === undefined) throw new UsageError('no Redis: set REDIS_URL, or name one with --redis <url>');
    const { redis: source } = options;
    const connections = await byOptions(() => connectRedis(source, REDIS_TIMEOUT_MS));
    this.#closers.push(() => connections.close());
    await within(connections.client.ping(), REDIS_TIMEOUT_MS, 'Redis').catch((cause: Error) => {
      const { host, port } = connections.client.options as RedisOptions;
      // That there is no connection says the client; why there is none, its last attempt to make one.
      const why = connections.explain(cause).message.replace(/^cannot use Redis: /, '');
      const hint = why.includes('ECONNREFUSED') ? '; is it running, and is the port right?' : '';
      throw new StorageUnavailableError(`cannot reach Redis at ${host}:${port}: ${why}${hint}`, { cause });
    });
    return { client: connections.client, namespace: options.namespace };
  }

  #source(): LoRAStorageOptions {
    const { redis, namespace } = this.#options;
    return {
      postgres: this.postgres,
      ...(typeof redis === 'string' || redis === false ? { redis } : {}),
      ...(namespace === undefined ? {} : { namespace }),
    };
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

type Work<Arguments extends unknown[], Options> = (
  context: Context,
  options: Options,
  ...args: Arguments
) => Promise<ExitCode>;

/** The action of a command. What `work` returns is the exit code; an error is printed, and stands for another. */
export function acting<Arguments extends unknown[], Options extends CommonOptions>(work: Work<Arguments, Options>) {
  return async (...given: [...Arguments, Options, Command]): Promise<void> => {
    // Commander hands over the arguments, then the options, then the command.
    const options = given.at(-2) as Options;
    const args = given.slice(0, -2) as Arguments;
    const interrupted = new AbortController();
    const context = new Context(options, interrupted.signal);
    let server: EmbeddedPostgres | undefined;
    const interrupt = () => {
      context.out.note('ending with what is under way; once more, and it ends at once');
      interrupted.abort(new Error('interrupted'));
    };
    // Once each: whoever asks a second time does not want to wait.
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
    try {
      server = await serverOf(options.postgres ?? process.env.DATABASE_URL);
      if (server !== undefined) options.postgres = server.url;
      const code = await work(context, options, ...args);
      await context.out.settled();
      process.exitCode = code;
    } catch (error) {
      context.out.error(error);
      process.exitCode = exitCodeOf(error, interrupted.signal);
    } finally {
      interrupted.abort();
      await context.close();
      await server?.stop();
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    }
  };
}
