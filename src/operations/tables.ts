/**
 * The tables themselves, for operations that look at many rows: a few connections, patient, with the schema of this
 * version. Throws only the errors of errors.ts.
 */
import type pg from 'pg';
import { type LoRAStorageOptions, parseOptions } from '../options.js';
import { Database, type Session, type Statement, statement } from '../postgres/database.js';
import { connect } from '../postgres/lone-client.js';
import { checkSchema } from '../postgres/schema.js';
import { readFailure } from '../tiers/postgres-errors.js';
import { CANCEL, UNHURRIED } from './statements/sessions.js';

export class Tables implements Session {
  readonly #database: Database;

  private constructor(database: Database) {
    this.#database = database;
  }

  /** postgres: a URL, a pg PoolConfig or a pg Pool; DATABASE_URL where it is left out. timeoutMs: of each statement. */
  static async open(postgres: LoRAStorageOptions['postgres'], timeoutMs: number): Promise<Tables> {
    const tables = Tables.openUnchecked(postgres, timeoutMs);
    try {
      await tables.check();
      return tables;
    } catch (error) {
      await tables.close();
      throw error;
    }
  }

  /** The same of whatever is there, for whoever finds out what that is. */
  static openUnchecked(postgres: LoRAStorageOptions['postgres'], timeoutMs: number): Tables {
    const { primary } = parseOptions({ ...(postgres === undefined ? {} : { postgres }) }).postgres;
    if (typeof primary === 'string' && primary.startsWith('embedded:')) {
      throw new TypeError(
        `this needs the URL of a running server: startEmbeddedPostgres() of lora-store/embedded starts '${primary}' and has one`,
      );
    }
    return new Tables(new Database(primary, { timeoutMs, maxQueue: 1000 }));
  }

  /** Rejects where the schema is not that of this version. */
  async check(): Promise<void> {
    await checkSchema((text) => this.rows(statement('check_schema', text), []));
  }

  /** Where it connects to, for a connection of one's own. */
  get config(): pg.ClientConfig {
    return this.#database.config;
  }

  async rows<Row extends unknown[]>(asked: Statement, values: readonly unknown[]): Promise<Row[]> {
    return await this.#database.rows<Row>(asked, values).catch(fail);
  }

  /** Runs `work` in one transaction, READ COMMITTED; its error rolls everything back. */
  async transaction<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return await this.#database.transaction(work).catch(fail);
  }

  /** One statement on a connection of its own, for as long as it takes, or until `signal` ends it. */
  async unhurried({ text }: Statement, signal: AbortSignal): Promise<void> {
    const { client, release } = await connect({ ...this.config, application_name: 'lora-store' }).catch(fail);
    const { processID } = client as pg.ClientBase & { processID?: number };
    const cancel = () => void this.rows(CANCEL, [processID]).catch(() => {});
    try {
      await client.query(UNHURRIED);
      signal.throwIfAborted();
      signal.addEventListener('abort', cancel);
      await client.query(text);
    } catch (error) {
      signal.throwIfAborted();
      fail(error);
    } finally {
      signal.removeEventListener('abort', cancel);
      await Promise.resolve(release(true)).catch(() => undefined);
    }
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

function fail(error: unknown): never {
  throw readFailure(error);
}
