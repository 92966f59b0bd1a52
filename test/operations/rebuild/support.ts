/** What the tests of a rebuild have in common: a database with adapters, and a moment for somebody else between its statements. */
import pg from 'pg';
import { afterAll, afterEach } from 'vitest';
import { type RebuildOptions, type Rebuilt, rebuild } from '../../../src/operations/rebuild/rebuild.js';
import { Tables } from '../../../src/operations/tables.js';
import type { Session, Statement } from '../../../src/postgres/database.js';
import { migrate } from '../../../src/postgres/migrate.js';
import { seed, user } from '../../cli/archives.js';
import { wrongHeads } from '../../postgres/support/writers.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { withClient } from '../../support/template.js';

export interface Place {
  readonly url: string;
  readonly tables: Tables;
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** A session of somebody's own, ended with the test. */
  session(): Promise<pg.Client>;
}

/**
 * A migrated database with users 1 to 6, of three versions each; dropped at the end of the test that asked for it. users: makes that
 * table in another way than the migrations.
 */
export function usePlaces(): (users?: string) => Promise<Place> {
  const opened: { db: TestDatabase; tables: Tables; pool: pg.Pool; sessions: pg.Client[] }[] = [];
  const close = async () => {
    for (const { db, tables, pool, sessions } of opened.splice(0)) {
      for (const session of sessions) await session.end();
      await Promise.all([tables.close(), pool.end()]);
      await db.drop();
    }
  };
  afterEach(close);
  afterAll(close);
  return async (users) => {
    const db = await createDatabase({ template: users === undefined ? 'migrated' : 'empty' });
    if (users !== undefined) {
      await withClient(db.url, (client) => client.query(users));
      await migrate({ postgres: db.url });
    }
    const tables = await Tables.open(db.url, 20_000);
    const pool = new pg.Pool({ connectionString: db.url, max: 3 });
    const sessions: pg.Client[] = [];
    opened.push({ db, tables, pool, sessions });
    await withClient(db.url, (client) => seed(client, eighteen));
    return {
      ...{ url: db.url, tables },
      async sql(text, values) {
        return (await pool.query(text, values)).rows;
      },
      async session() {
        const client = new pg.Client({ connectionString: db.url });
        await client.connect();
        sessions.push(client);
        return client;
      },
    };
  };
}

const eighteen = [1, 2, 3, 4, 5, 6].flatMap((n) => [1, 2, 3].map((version) => ({ userId: user(n), version })));

export const PLAIN = { partitions: 0 };
export const FOUR = { partitions: 4 };

/** Patient enough for a busy machine, and for what a test lets wait. */
export function into(
  tables: Tables,
  target: { partitions: number },
  options: Partial<RebuildOptions> = {},
): Promise<Rebuilt> {
  return rebuild(tables, target, { signal: new AbortController().signal, patienceMs: 20_000, ...options });
}

/** Everything of every row, in the order of the key. */
export async function rowsOf(place: Place, table = 'lora_adapters'): Promise<unknown[]> {
  return await place.sql(`select t.*, t::text as whole from ${table} t order by user_id, adapter_name, version`);
}

export async function headsAreTrue(place: Place): Promise<unknown[]> {
  return await withClient(place.url, wrongHeads);
}

export interface Moment {
  /** Of the statement that is waited for. */
  readonly at: RegExp;
  readonly before?: (session: Session) => Promise<unknown>;
  readonly after?: (session: Session) => Promise<unknown>;
}

/** The real tables, with a moment for somebody else before or after the first statement that matches, of each moment once. */
export function meeting(tables: Tables, ...moments: Moment[]): Tables {
  const pending = [...moments];
  const asking = (real: Session) => async (asked: Statement, values: readonly unknown[]) => {
    const place = pending.findIndex(({ at }) => at.test(asked.text));
    const [moment] = place < 0 ? [] : pending.splice(place, 1);
    await moment?.before?.(real);
    const rows = await real.rows(asked, values);
    await moment?.after?.(real);
    return rows;
  };
  return Object.create(tables, {
    config: { get: () => tables.config },
    check: { value: () => tables.check() },
    rows: { value: asking({ rows: (asked, values) => tables.rows(asked, values) }) },
    unhurried: {
      value: async (asked: Statement, signal: AbortSignal) => {
        const rows = async () => {
          await tables.unhurried(asked, signal);
          return [];
        };
        await asking({ rows })(asked, []);
      },
    },
    transaction: {
      value: <T>(work: (session: Session) => Promise<T>) =>
        tables.transaction((real) => work({ rows: asking(real) } as Session)),
    },
  });
}
