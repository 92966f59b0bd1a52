/** What the planner does with a load, and what it knows of the tables: its counts, and the dead rows it has to step over. */
import { randomUUID } from 'node:crypto';
import { EXPLAIN_LOAD, SOME_ADAPTERS, TABLE_STATISTICS } from '../statements/doctor.js';
import type { Tables } from '../tables.js';
import { failure, ok, type Patient, type Verdict, warning } from './finding.js';
import { readSettings, setting } from './settings.js';

/** Of fewer rows the planner reads all of them, and is right to. */
const LARGE = 1000;

/** The limit of SOME_ADAPTERS. */
const SOME = 100;

type Statistics = [table: string, estimate: number, live: number, dead: number, changed: number, vacuumed: string];
type LeafStatistics = [table: string, ...Statistics];

interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly Plans?: readonly Plan[];
}

export async function planOfLoad({ tables }: Patient): Promise<Verdict> {
  const leaves = await tables.rows<LeafStatistics>(TABLE_STATISTICS, []);
  const large = new Set(
    leaves.filter(([, , estimate, live]) => Math.max(estimate, live) > LARGE).map(([, name]) => name),
  );
  const [key = [randomUUID(), 'default']] = await someAdapters(tables);
  const [[text] = []] = await tables.rows<[string]>(EXPLAIN_LOAD, [...key, -1]);
  const [{ Plan }] = JSON.parse(text as string) as [{ Plan: Plan }];
  const scans = nodesOf(Plan).filter((node) => node['Relation Name'] !== undefined);
  const found = scans.map((node) => `${node['Node Type']} on ${node['Relation Name']}`).join(', ');
  const slow = scans.filter((node) => node['Node Type'] === 'Seq Scan' && large.has(node['Relation Name'] as string));
  if (slow.length === 0) return ok(found);
  const settings = await readSettings(tables);
  const off = ['enable_indexscan', 'enable_bitmapscan'].filter((name) => settings(name).value === 'off');
  const mends = await Promise.all(off.map((name) => setting(tables, name, 'on', settings(name))));
  return failure(
    `each load reads a whole table: ${found}`,
    mends.join(' ') || 'analyze lora_adapters; analyze lora_adapter_heads;',
  );
}

export async function statistics({ tables }: Patient): Promise<Verdict> {
  const rows = (await statisticsOf(tables)).filter(([table]) => !table.includes('TOAST'));
  const old = rows.filter(([, estimate, live, , changed]) =>
    estimate < 0 ? live > LARGE : changed > LARGE + 0.2 * Math.max(estimate, 0),
  );
  const found = rows.map(
    ([table, estimate, , , changed]) =>
      `${table}: ${estimate < 0 ? 'never counted' : `about ${estimate} rows`}, ${changed} changed since`,
  );
  if (old.length === 0) return ok(found.join('; '));
  return warning(found.join('; '), old.map(([table]) => `analyze ${table};`).join(' '));
}

export async function deadRows({ tables }: Patient): Promise<Verdict> {
  const rows = await statisticsOf(tables);
  const found = rows
    .map(([table, , live, dead, , at]) => `${table}: ${dead} dead beside ${live}, last vacuum ${at}`)
    .join('; ');
  const bloated = rows.filter(([, , live, dead]) => dead > LARGE + 0.2 * live);
  if (bloated.length === 0) return ok(found);
  // A table is vacuumed with its TOAST table.
  const owners = new Set(bloated.map(([table]) => (table.includes('TOAST') ? 'lora_adapters' : table)));
  return warning(found, [...owners].map((table) => `vacuum (analyze) ${table};`).join(' '));
}

/** Up to a hundred adapters that exist, from a random place on, and around to the first one. */
export async function someAdapters(tables: Tables): Promise<[userId: string, adapterName: string][]> {
  const start = randomUUID();
  const there = await tables.rows<[string, string]>(SOME_ADAPTERS, [start]);
  if (there.length === SOME) return there;
  const first = await tables.rows<[string, string]>(SOME_ADAPTERS, ['00000000-0000-0000-0000-000000000000']);
  return [...there, ...first.filter(([userId]) => userId < start)].slice(0, SOME);
}

/** Of whole tables: partitions added up. */
async function statisticsOf(tables: Tables): Promise<Statistics[]> {
  const sums = new Map<string, Statistics>();
  for (const [table, , estimate, live, dead, changed, vacuumed] of await tables.rows<LeafStatistics>(
    TABLE_STATISTICS,
    [],
  )) {
    const [, e, l, d, c, v] = sums.get(table) ?? [table, -1, 0, 0, 0, vacuumed];
    const known = estimate < 0 ? e : Math.max(e, 0) + estimate;
    // 'never' sorts behind every date; of dates, the last one.
    const last = v === 'never' || (vacuumed !== 'never' && vacuumed > v) ? vacuumed : v;
    sums.set(table, [table, known, l + live, d + dead, c + changed, last]);
  }
  return [...sums.values()];
}

function nodesOf(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}
