/** What lies on the disk, by user and by version. */
import { withClient } from '../harness/population.js';
import type { Population } from './population.js';

/** Bytes of whole relations, free space maps and the like included. */
export interface Sizes {
  readonly users: number;
  readonly heads: number;
  readonly headIndex: number;
  readonly rows: number;
  readonly toast: number;
  readonly indexes: number;
}

export async function sizesOf({ url }: Pick<Population, 'url'>): Promise<Sizes> {
  return await withClient(url, async (client) => {
    const { rows } = await client.query<Record<keyof Sizes, string>>(`
      select pg_total_relation_size('users') as users,
        pg_total_relation_size('lora_adapter_heads') as heads,
        pg_indexes_size('lora_adapter_heads') as "headIndex",
        pg_table_size('lora_adapters') - pg_total_relation_size(reltoastrelid) as rows,
        pg_total_relation_size(reltoastrelid) as toast,
        pg_indexes_size('lora_adapters') as indexes
      from pg_class where oid = 'lora_adapters'::regclass`);
    return Object.fromEntries(
      Object.entries(rows[0] ?? {}).map(([name, bytes]) => [name, Number(bytes)]),
    ) as unknown as Sizes;
  });
}

/** Rows, TOAST and indexes of the bodies. */
export function bodiesOf({ rows, toast, indexes }: Sizes): number {
  return rows + toast + indexes;
}
