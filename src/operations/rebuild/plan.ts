/** What a rebuild would do, and what is in its way. Changes nothing. */
import { ESTIMATED_ROWS } from '../statements/whole-tables.js';
import type { Tables } from '../tables.js';
import { readStanding } from './bookkeeping.js';
import { obstacles } from './obstacles.js';
import { readShape, type Shape } from './shape.js';
import { once, siteOf } from './site.js';

export interface Plan {
  /** There are now; 0: one plain table. */
  readonly partitions: number;
  readonly rowsAbout: number;
  /** On the disk, with indexes. */
  readonly bytes: number;
  readonly inTheWay: readonly string[];
  /** The target of one that was begun. */
  readonly underWay?: Shape;
}

export async function planRebuild(tables: Tables, target: Shape): Promise<Plan> {
  const { partitions } = await readShape(tables);
  const [[rowsAbout] = [0]] = await tables.rows<[number]>(ESTIMATED_ROWS, []);
  const [[bytes] = [0]] = await tables.rows<[number]>(SIZE, []);
  const underWay = (await readStanding(await siteOf(tables)))?.target;
  const inTheWay = partitions === target.partitions ? [] : await obstacles(tables);
  return {
    ...{ partitions, rowsAbout: Math.max(0, rowsAbout), bytes, inTheWay },
    ...(underWay === undefined ? {} : { underWay }),
  };
}

const SIZE = once(
  `select (pg_catalog.pg_total_relation_size('lora_adapters'::regclass) + coalesce((
     select sum(pg_catalog.pg_total_relation_size(inhrelid)) from pg_catalog.pg_inherits
     where inhparent = 'lora_adapters'::regclass), 0))::int8`,
);
