/** What lora_adapters is: one plain table, or so many hash partitions by user_id. */
import { LoRAStorageError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { once } from './site.js';

export interface Shape {
  /** 0: one plain table. */
  readonly partitions: number;
}

export function shapeInWords({ partitions }: Shape): string {
  return partitions === 0 ? 'one plain table' : `${partitions} hash partitions by user_id`;
}

/** The command that makes it so. */
export function commandFor({ partitions }: Shape): string {
  return partitions === 0 ? 'lora-store partition --undo' : `lora-store partition --by hash --count ${partitions}`;
}

/** Throws where somebody has partitioned it in another way. */
export async function readShape(session: Session): Promise<Shape> {
  type Row = [kind: string, partitions: number, ours: boolean];
  const [[kind, partitions, ours] = ['', 0, false]] = await session.rows<Row>(SHAPE, []);
  if (kind === 'r') return { partitions: 0 };
  if (kind === 'p' && ours) return { partitions };
  throw new LoRAStorageError(
    'lora_adapters is neither a plain table nor hash partitions by user_id: this command leaves alone what it did not make',
  );
}

/** Name of partition `n` of `shape`: with the count, so that those of two shapes can stand side by side. */
export function partitionName({ partitions }: Shape, n: number): string {
  return `lora_adapters_h${partitions}_${String(n).padStart(String(partitions - 1).length, '0')}`;
}

const SHAPE = once(
  `select c.relkind::text,
     (select count(*)::int4 from pg_catalog.pg_inherits where inhparent = c.oid),
     coalesce(p.partstrat = 'h' and p.partexprs is null
       and (select array_agg(a.attname::text) from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum = any (p.partattrs::int2[])) = array['user_id']
       and not exists (select from pg_catalog.pg_inherits i join pg_catalog.pg_class leaf on leaf.oid = i.inhrelid
                       where i.inhparent = c.oid and leaf.relkind <> 'r'), false)
   from pg_catalog.pg_class c left join pg_catalog.pg_partitioned_table p on p.partrelid = c.oid
   where c.oid = 'lora_adapters'::regclass`,
);
