/** What must be true of the database before a storage opens on it: each check names the option or command that mends it. */
import { join } from 'node:path';
import type { Coherence } from '../coherence/head.js';
import { SchemaError } from '../errors.js';
import type { ResolvedOptions } from '../options.js';
import { type Database, statement } from '../postgres/database.js';
import { sqlState } from '../postgres/failure.js';
import { DIRECTORY } from '../postgres/migrate.js';
import { PoolerError } from '../postgres/pooler.js';
import { checkSchema } from '../postgres/schema.js';
import { MARK } from '../postgres/server-id.js';
import { readFailure } from '../tiers/postgres-errors.js';
import { WHICH_SERVER } from '../tiers/statements.js';

const ISOLATION = statement('isolation', `select current_setting('default_transaction_isolation')`);

/** It answers, has the schema of this version, and its transactions are those that the statements were written for. */
export async function checkDatabase(database: Database): Promise<void> {
  try {
    await checkSchema((text) => database.rows(statement('check_schema', text), []));
    if (database.lent && !database.pooled) await expectReadCommitted(database);
  } catch (error) {
    throw readFailure(error);
  }
}

const SIGNS = statement(
  'signs',
  `select exists (select from pg_trigger where tgrelid = to_regclass('lora_adapter_heads')
     and tgname = 'lora_adapter_heads_sign' and tgenabled in ('O', 'A'))`,
);

/**
 * Leaves the first mark for standbys to show. Rejects where the migration, its trigger or the right is missing; any other trouble
 * may pass.
 */
export async function checkMarks(database: Database): Promise<void> {
  try {
    await database.rows(statement('mark', MARK), []);
    const [row] = await database.rows<[signs: boolean]>(SIGNS, []);
    if (row?.[0] === false) {
      throw new SchemaError(
        'trigger lora_adapter_heads_sign of lora_adapter_heads is missing or disabled, without which a standby does not show whose it is: ' +
          '`alter table lora_adapter_heads enable trigger lora_adapter_heads_sign`, or, where there is none, ' +
          `\`psql "$DATABASE_URL" -f ${join(DIRECTORY, '005_primary.up.sql')}\``,
      );
    }
  } catch (error) {
    const failure = readFailure(error);
    if (failure instanceof SchemaError || sqlState(error) === '42501') throw failure;
  }
}

/** A save is one statement outside a transaction. On a pool of our own we set the level, and through a pooler we begin one. */
async function expectReadCommitted(database: Database): Promise<void> {
  const [row] = await database.rows<[level: string]>(ISOLATION, []);
  if (row?.[0] === 'read committed') return;
  throw new SchemaError(
    `transactions of the pool that was passed begin at ${row?.[0]}: alter role … set default_transaction_isolation = 'read committed'`,
  );
}

/** An ear behind a pooler may never hear a thing: that is no outage, which ends. */
export function refusePooler(reason: unknown, { postgres }: ResolvedOptions): void {
  if (!(reason instanceof PoolerError)) return;
  const [option, mend] =
    postgres.direct === undefined ? ['postgres', 'add postgres.direct'] : ['postgres.direct', 'set it'];
  throw new TypeError(
    `option ${option} leads to a pooler, and LISTEN needs the server itself (in session mode, too, which cannot be told from the others): ${mend} to the server, or pass changeFeed: false`,
  );
}

/** The server and database behind it. */
export async function whichServer(database: Database): Promise<number | undefined> {
  const [row] = await database.read<[server: number]>(WHICH_SERVER, []);
  return row?.[0];
}

/** NOTIFY stays within its database: an ear in another one hears nothing and would look alive. */
export async function expectSameServer(database: Database, coherence: Coherence): Promise<void> {
  const server = await whichServer(database);
  if (coherence.hears === undefined || coherence.hears === server) return;
  throw new TypeError('option postgres.direct leads to another database than postgres.primary: name the same one');
}
