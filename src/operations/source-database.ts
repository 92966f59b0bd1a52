/** Which database this is, in words that stay the same when its server restarts, fails over or gets another address. */
import pg from 'pg';
import { SOURCE, SYSTEM_IDENTIFIER } from './statements/archives.js';
import type { Tables } from './tables.js';

/** Where the role may not read the server's own number, its address has to do. Never a password. */
export async function sourceOf(tables: Tables): Promise<string> {
  type Row = [database: string, schema: string, readable: boolean];
  const [[database, schema, readable] = ['', '', false]] = await tables.rows<Row>(SOURCE, []);
  return `${readable ? await systemOf(tables) : addressOf(tables)}, database ${database}, schema ${schema}`;
}

async function systemOf(tables: Tables): Promise<string> {
  const [[identifier] = ['']] = await tables.rows<[string]>(SYSTEM_IDENTIFIER, []);
  return `server ${identifier}`;
}

function addressOf(tables: Tables): string {
  const { host, port } = new pg.Client(tables.config);
  return `server at ${host}:${port}`;
}
