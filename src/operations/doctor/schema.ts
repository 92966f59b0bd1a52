/** What this version needs to find in the database: tables, triggers, indexes, and how weights are stored. */
import { DIRECTORY } from '../../postgres/migrate.js';
import { migrationStatus } from '../../postgres/migration-status.js';
import { INDEXES, PARTITIONS, WEIGHTS_STORAGE } from '../statements/doctor.js';
import { failure, ok, type Patient, type Verdict, warning } from './finding.js';

export async function schema({ options }: Patient): Promise<Verdict> {
  const { postgres } = options;
  const { migrations, recorded, problem } = await migrationStatus(typeof postgres === 'string' ? { postgres } : {});
  const applied = migrations.filter(({ appliedAt }) => appliedAt !== undefined);
  if (problem === undefined && !recorded)
    return ok('that of this version; this role may not read lora_store_migrations');
  if (problem === undefined)
    return ok(`that of this version; ${applied.length} of ${migrations.length} migrations recorded`);
  const [told = '', where = '', mend] = /: (in psql )?run `(.*)`$/.exec(problem) ?? [];
  const found = problem.slice(0, problem.length - told.length);
  if (mend === undefined) return failure(found);
  if (!mend.includes('migrate')) return failure(found, where === '' ? mend : `${mend};`);
  if (applied.length < migrations.length) return failure(found, 'npx lora-store migrate up');
  // All is recorded as done: only the files themselves bring back what was taken away by hand.
  return failure(found, `cat ${DIRECTORY}/*.up.sql | psql "$DATABASE_URL" -v ON_ERROR_STOP=1`);
}

/** Uniqueness is what the triggers and loads rest on; without one of the others a list or a prune reads the whole table. */
export async function indexes({ tables }: Patient): Promise<Verdict> {
  type Row = [name: string, make: string, state: 'there' | 'missing' | 'invalid', index: string];
  const rows = await tables.rows<Row>(INDEXES, []);
  const wrong = rows.filter(([, , state]) => state !== 'there');
  if (wrong.length === 0) return ok(`all ${rows.length} are there and valid`);
  const found = wrong.map(([name, , state]) => `${state}: ${name}`).join('; ');
  const mends = wrong.map(([, make, state, index]) =>
    state === 'invalid' ? `reindex index concurrently ${index};` : `${make};`,
  );
  const vital = wrong.some(([, make]) => make.startsWith('alter table'));
  return (vital ? failure : warning)(found, mends.join(' '));
}

/** Nothing is wrong with either shape; a rebuild that was left in the middle makes every write cost two. */
export async function partitions({ tables }: Patient): Promise<Verdict> {
  const [[kind = '', leaves = 0, rebuilding = null] = []] = await tables.rows<[string, number, string | null]>(
    PARTITIONS,
    [],
  );
  const found = kind === 'p' ? `lora_adapters has ${leaves}` : 'none: lora_adapters is one table';
  if (rebuilding === null) return ok(found);
  return warning(
    `${found}; ${rebuilding} is there, of a rebuild that has not ended: until it has, every write is made twice`,
    'npx lora-store partition --dry-run --undo # says how it is gone on with; --cancel gives it up',
  );
}

export async function weightsStorage({ tables }: Patient): Promise<Verdict> {
  const [[storage] = []] = await tables.rows<[string]>(WEIGHTS_STORAGE, []);
  if (storage === 'e') return ok('external, not compressed');
  return warning(
    'weights are compressed, which takes more than half of the time of an insert and saves nothing',
    'alter table lora_adapters alter column weights set storage external;',
  );
}
