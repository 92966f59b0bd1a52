/** Whether a node may save here: that the server takes writes, and that its role has what docs/sql/grants.sql gives. */
import { RIGHTS, SESSION, STANDBY } from '../statements/doctor.js';
import type { Tables } from '../tables.js';
import { failure, ok, type Patient, type Verdict, warning } from './finding.js';
import { quoted, readSettings, setting } from './settings.js';

type Use = 'load' | 'save' | 'createMissingUsers' | 'postgres.replicas' | 'migrate status';

export type Right = readonly [use: Use, on: string, privilege: string, column?: string];

/** Those of lora_app; lora_reader has all but what a save takes. */
export const RIGHTS_OF_NODES: readonly Right[] = [
  ['load', 'lora_adapters', 'select'],
  ['load', 'lora_adapter_heads', 'select'],
  ['save', 'users', 'select', 'id'],
  ['save', 'users', 'update', 'id'],
  ['save', 'lora_adapters', 'insert'],
  ['save', 'lora_adapters', 'delete'],
  ['save', 'lora_adapters', 'update', 'updated_at'],
  ['save', 'lora_adapter_heads', 'insert'],
  ['save', 'lora_adapter_heads', 'update'],
  ['save', 'lora_adapter_heads', 'delete'],
  ['createMissingUsers', 'users', 'insert', 'id'],
  ['postgres.replicas', 'lora_store_mark()', 'execute'],
  ['postgres.replicas', 'lora_store_primary', 'select'],
  ['postgres.replicas', 'lora_store_reigns', 'select'],
  ['migrate status', 'lora_store_migrations', 'select'],
];

export async function takesWrites({ tables }: Patient): Promise<Verdict> {
  const [[standby = false, readOnly = false, host = null, port = null] = []] = await tables.rows<
    [boolean, boolean, string | null, number | null]
  >(STANDBY, []);
  if (standby) {
    const primary = host === null ? 'HOST:PORT' : `${host}:${port}`;
    return failure(
      'this is a standby: every save fails, and nobody hears of writes here',
      `export DATABASE_URL=postgres://USER:PASSWORD@${primary}/DATABASE # the primary; standbys go into postgres.replicas`,
    );
  }
  if (!readOnly) return ok('it is a primary, and takes writes');
  const settings = await readSettings(tables);
  const name = 'default_transaction_read_only';
  const mend = await setting(tables, name, 'off', settings(name));
  // Whoever pastes it is under it as well.
  return failure(`${name} is on: every save fails`, mend.startsWith('--') ? mend : `set ${name} = off; ${mend}`);
}

export async function rights({ tables }: Patient): Promise<Verdict> {
  const has = await granted(tables);
  if (RIGHTS_OF_NODES.some(([use], i) => has[i] === null && (use === 'load' || use === 'save')))
    return failure('there is nothing to have rights to: a table is missing', 'npx lora-store migrate up');
  const lacking = (...uses: Use[]) => RIGHTS_OF_NODES.filter(([use], i) => has[i] === false && uses.includes(use));
  const [loads, saves, rest] = [
    lacking('load'),
    lacking('save'),
    lacking('createMissingUsers', 'postgres.replicas', 'migrate status'),
  ];
  const without = [...new Set(rest.map(([use]) => use))];
  if (loads.length + saves.length === 0)
    return ok(`all that loads and saves take${without.length === 0 ? '' : `; not for ${without.join(', ')}`}`);
  const found = `this role may not ${inWords([...loads, ...saves])}`;
  const mend = await grants(tables, [...loads, ...saves]);
  if (loads.length === 0 && saves.length === RIGHTS_OF_NODES.filter(([use]) => use === 'save').length)
    return warning('this role loads and lists, as lora_reader does, and may not save', mend);
  return failure(`${found}: ${loads.length > 0 ? 'loads' : 'saves'} fail`, mend);
}

/** null: what it would be of is not there. */
async function granted(tables: Tables): Promise<(boolean | null)[]> {
  const rows = await tables.rows<[boolean | null]>(RIGHTS, [
    RIGHTS_OF_NODES.map(([, on]) => on),
    RIGHTS_OF_NODES.map(([, , privilege]) => privilege),
    RIGHTS_OF_NODES.map(([, , , column]) => column ?? null),
  ]);
  return rows.map(([has]) => has);
}

async function grants(tables: Tables, lacking: readonly Right[]): Promise<string> {
  const [[, role = ''] = []] = await tables.rows<[string, string]>(SESSION, []);
  return [...byObject(lacking)].map(([on, what]) => `grant ${what} on ${on} to ${quoted(role)};`).join(' ');
}

function inWords(lacking: readonly Right[]): string {
  return [...byObject(lacking)].map(([on, what]) => `${what} on ${on}`).join(', ');
}

function byObject(lacking: readonly Right[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const [, on, privilege, column] of lacking) {
    const what = column === undefined ? privilege : `${privilege} (${column})`;
    found.set(on, found.has(on) ? `${found.get(on)}, ${what}` : what);
  }
  return found;
}
