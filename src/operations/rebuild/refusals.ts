/** What is asked before a rebuild begins, and is no business of the table itself (obstacles.ts): who asks, and which names are free. */
import { LoRAStorageError } from '../../errors.js';
import type { Standing } from './bookkeeping.js';
import { indexesOf } from './next-table.js';
import { commandFor, partitionName, type Shape, shapeInWords } from './shape.js';
import { once, type Site } from './site.js';

/** One that was begun into another shape. */
export function refuseOther(standing: Standing | undefined, target: Shape): void {
  if (standing === undefined || standing.target.partitions === target.partitions) return;
  throw new LoRAStorageError(
    `a rebuild into ${shapeInWords(standing.target)} is under way: end it with \`${commandFor(standing.target)}\`, or give it up with ` +
      '`lora-store partition --cancel`',
  );
}

/** Everything that is made has to belong to the owner of lora_adapters. */
export async function refuseForeign({ tables }: Site): Promise<void> {
  const [[owner, me] = ['', '']] = await tables.rows<[string, string]>(
    once(`select pg_catalog.pg_get_userbyid(relowner)::text, current_user::text from pg_catalog.pg_class
      where oid = 'lora_adapters'::regclass`),
    [],
  );
  if (owner !== me) {
    throw new LoRAStorageError(
      `lora_adapters belongs to ${owner}, and this is ${me}: connect as ${owner}, or with ?options=-c%20role%3D${owner} in the URL`,
    );
  }
}

/** Names that a rebuild takes, of what none has made. begun: those that it has are its own. */
export async function refuseTaken({ tables, schema }: Site, target: Shape, begun: boolean): Promise<void> {
  const taken = indexesOf(target).map(({ after }) => after);
  if (!begun) {
    taken.push('lora_adapters_next', 'lora_adapters_replaced', ...indexesOf(target).map(({ during }) => during));
    for (let n = 0; n < target.partitions; n++) taken.push(partitionName(target, n));
  }
  const [[left] = [null]] = await tables.rows<[string | null]>(
    once(`select min(case when c.relkind in ('i', 'I') then 'an index ' when c.relkind in ('r', 'p') then 'a table ' else '' end || c.relname)
      from pg_catalog.pg_class c left join pg_catalog.pg_index i on i.indexrelid = c.oid
      where c.relnamespace = $1::regnamespace and (c.relname = any ($2) or c.relname ~ '^lora_adapters_replaced_[ip][0-9]+$')
        and i.indrelid is distinct from 'lora_adapters'::regclass`),
    [schema, taken],
  );
  if (left === null) return;
  throw new LoRAStorageError(`there is ${left}, whose name a rebuild needs: rename it, or drop it`);
}
