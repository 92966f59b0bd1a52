/** Settings of the server as this session has them, and how one is changed where it was made. */
import { SESSION, SETTINGS } from '../statements/doctor.js';
import type { Tables } from '../tables.js';

export interface Setting {
  readonly value: string;
  /** Where it comes from: 'database', 'user', 'configuration file', ... */
  readonly source: string;
}

export async function readSettings(tables: Tables): Promise<(name: string) => Setting> {
  const rows = await tables.rows<[name: string, value: string, source: string]>(SETTINGS, []);
  const settings = new Map(rows.map(([name, value, source]) => [name, { value, source }]));
  return (name) => settings.get(name) ?? { value: '', source: '' };
}

/** SQL that sets it there for sessions to come, and where the server's files say so, for all. */
export async function setting(tables: Tables, name: string, to: string, { source }: Setting): Promise<string> {
  const [[database = '', role = ''] = []] = await tables.rows<[string, string]>(SESSION, []);
  if (source === 'database') return `alter database ${quoted(database)} set ${name} = ${to};`;
  if (source === 'user') return `alter role ${quoted(role)} set ${name} = ${to};`;
  if (source === 'database user')
    return `alter role ${quoted(role)} in database ${quoted(database)} set ${name} = ${to};`;
  if (source === 'client') return `-- take ${name} out of the options of DATABASE_URL, or of PGOPTIONS`;
  // It has the last word there.
  if (source === 'command line') return `-- start the server without -c ${name}=… on its command line`;
  return `alter system set ${name} = ${to}; select pg_reload_conf();`;
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
