/** How far an archive is whole, as TARGET.partial.json says it. What is behind that is cut off: so it is believed only whole. */
import type { VersionKey } from './version-file.js';

export interface Checkpoint {
  /** Files in it. */
  readonly versions: number;
  /** Rows that were bad, and are not. */
  readonly leftOut: number;
  /** Of TARGET.partial, where it is a file: what is behind them is not whole. */
  readonly bytes: number;
  /** The last key that is in it. */
  readonly after?: VersionKey;
}

export interface Saved {
  readonly job: object;
  readonly checkpoint: Checkpoint;
}

export function checkpointText({ job, checkpoint }: Saved): string {
  return JSON.stringify({ job, ...checkpoint });
}

/** Inverse of checkpointText; undefined where it is torn, or says what cannot be. */
export function parseCheckpoint(text: string): Saved | undefined {
  try {
    const { job, versions, leftOut, bytes, after } = JSON.parse(text);
    if (![versions, leftOut, bytes].every(isCount) || (after !== undefined && !isKey(after))) return undefined;
    return { job, checkpoint: { versions, leftOut, bytes, ...(after && { after }) } };
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isKey({ userId, adapterName, version }: Record<string, unknown>): boolean {
  return typeof userId === 'string' && typeof adapterName === 'string' && Number.isInteger(version);
}
