/** Export: every version that was asked for into a target, page by page; each page is on the disk before the next is read. */
import type { AdapterCorruptError } from '../errors.js';
import { pagesOf, type Selection } from './pages.js';
import type { Tables } from './tables.js';
import type { Target } from './targets.js';

export interface ExportReport {
  /** So many are in the target. */
  progress(versions: number): void;
  /** A row that is left out. */
  fault(error: AdapterCorruptError): void;
}

/** Resolves once the target is whole. Aborted: it ends after a page, and can be gone on with. */
export async function exportVersions(
  tables: Tables,
  selection: Selection,
  target: Target,
  report: ExportReport,
  signal: AbortSignal,
): Promise<void> {
  for await (const page of pagesOf(tables, selection, target.after)) {
    signal.throwIfAborted();
    for (const fault of page.faults) report.fault(fault);
    target.leftOut += page.faults.length;
    if (page.versions.length > 0) await target.write(page.versions, page.last);
    report.progress(target.versions);
  }
  signal.throwIfAborted();
  await target.finish();
}
