/**
 * The tables themselves, for operations that look at many rows: a few connections, patient, with the schema of this
 * version. Throws only the errors of errors.ts.
 */
import type { ClientConfig } from 'pg';
import { type LoRAStorageOptions, parseOptions } from '../options.js';
import { Database, type Session, type Statement, statement } from '../postgres/database.js';
import { checkSchema } from '../postgres/schema.js';
import { readFailure } from '../tiers/postgres-errors.js';

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
  get config(): ClientConfig {
    return this.#database.config;
  }

  async rows<Row extends unknown[]>(asked: Statement, values: readonly unknown[]): Promise<Row[]> {
    return await this.#database.rows<Row>(asked, values).catch(fail);
  }

  /** Runs `work` in one transaction, READ COMMITTED; its error rolls everything back. */
  async transaction<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return await this.#database.transaction(work).catch(fail);
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

function fail(error: unknown): never {
  throw readFailure(error);
}
