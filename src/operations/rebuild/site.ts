/**
 * Where a rebuild works: the live table, the one that is made beside it, and the one that was replaced. Names are of the
 * schema that `lora_adapters` was found in, quoted.
 */
import { randomUUID } from 'node:crypto';
import { type Session, type Statement, statement } from '../../postgres/database.js';
import type { Tables } from '../tables.js';

export interface Site {
  readonly tables: Tables;
  /** Of the server: 150018 for 15.18. */
  readonly serverVersion: number;
  readonly schema: string;
  readonly live: string;
  readonly next: string;
  readonly replaced: string;
  /** Who works here, unlike every other: see fenced() in bookkeeping.ts. */
  readonly runner: string;
}

/** Rows are found by it, in this order; unique in every shape. */
export const KEY = 'user_id, adapter_name, version';

export async function siteOf(tables: Tables): Promise<Site> {
  const [[schema, serverVersion] = ['', 0]] = await tables.rows<[string, number]>(PLACE, []);
  const named = (name: string) => `${schema}.${name}`;
  return {
    ...{ tables, schema, serverVersion, runner: randomUUID() },
    ...{ live: named('lora_adapters'), next: named('lora_adapters_next'), replaced: named('lora_adapters_replaced') },
  };
}

/** Not prepared under a name: it is sent once, or names tables that come and go. */
export function once(text: string): Statement {
  return { ...statement('', text), name: '' };
}

/** Runs the statements that a query puts together, with the names quoted by the server: one round trip for all. */
export async function obey(session: Session, query: string): Promise<void> {
  const loop = 'foreach command in array commands loop execute command; end loop';
  await session.rows(
    once(`do $obey$ declare commands text[] := array(${query}); command text; begin ${loop}; end $obey$`),
    [],
  );
}

/** Several statements in one round trip. */
export async function runAll(session: Session, statements: readonly string[]): Promise<void> {
  await session.rows(once(`do $run$ begin ${statements.map((one) => `${one};`).join('\n')} end $run$`), []);
}

const PLACE = once(
  `select quote_ident(n.nspname), current_setting('server_version_num')::int4
   from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.oid = 'lora_adapters'::regclass`,
);
