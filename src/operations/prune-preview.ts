/** What a prune would delete now, counted without a lock: by the conditions of the prune itself, a page of adapters at a time. */
import { parseUserId } from '../adapter/user-id.js';
import type { Statement } from '../postgres/database.js';
import { adapterPages, type PruneOptions } from '../storage/prune.js';
import { ADAPTERS_ABOUT, BEYOND_NEWEST, OLDER_THAN } from './statements/overview.js';
import type { Tables } from './tables.js';

export interface PrunePreview {
  /** Adapters that were looked at. */
  readonly adapters: number;
  readonly rows: number;
  readonly bytes: number;
}

/** As LoRAStorage's pruneVersions and pruneOlderThan take them. */
export type PruneRule = { keepLatest: number } | { olderThanDays: number; includeLatest: boolean };

export interface PreviewOptions extends Pick<PruneOptions, 'userId' | 'fromUserId' | 'signal'> {
  onProgress?: (preview: PrunePreview) => void;
}

export async function prunePreview(
  tables: Tables,
  rule: PruneRule,
  { userId, fromUserId, signal, onProgress }: PreviewOptions = {},
): Promise<PrunePreview> {
  const [statement, values]: [Statement, unknown[]] =
    'keepLatest' in rule ? [BEYOND_NEWEST, [rule.keepLatest]] : [OLDER_THAN, [rule.olderThanDays, rule.includeLatest]];
  const range = {
    ...(userId === undefined ? {} : { userId: parseUserId(userId) }),
    ...(fromUserId === undefined ? {} : { fromUserId: parseUserId(fromUserId) }),
  };
  let preview: PrunePreview = { adapters: 0, rows: 0, bytes: 0 };
  for await (const page of adapterPages((asked, given) => tables.rows(asked, given), range)) {
    signal?.throwIfAborted();
    const [counted] = await tables.rows<[rows: number, bytes: number]>(statement, [
      page.userIds,
      page.names,
      ...values,
    ]);
    const [rows = 0, bytes = 0] = counted ?? [];
    preview = {
      adapters: preview.adapters + page.names.length,
      rows: preview.rows + rows,
      bytes: preview.bytes + bytes,
    };
    onProgress?.(preview);
  }
  return preview;
}

/** How many adapters there are, for a progress bar; 0 where Postgres has not counted yet. */
export async function adaptersAbout(tables: Tables): Promise<number> {
  const [row] = await tables.rows<[about: number]>(ADAPTERS_ABOUT, []);
  return row?.[0] ?? 0;
}
