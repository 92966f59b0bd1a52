/** What versions are written to. */
import { resolve } from 'node:path';
import { DirectoryTarget } from './directory-target.js';
import { TarTarget } from './tar-target.js';
import type { StoredVersion, VersionKey } from './version-file.js';

export interface Target {
  /** In it already, from an earlier run. */
  readonly versions: number;
  /** The last key that is in it, where an earlier run was given one. */
  readonly after: VersionKey | undefined;
  /** Rows that were bad, and are not in it; of earlier runs, too. */
  leftOut: number;
  /** Resolves once they are on the disk. after: the key to go on after, should this run end here. */
  write(versions: readonly StoredVersion[], after?: VersionKey): Promise<void>;
  /** It is whole, and gets its name. */
  finish(): Promise<void>;
  /** After finish(), or instead of it. */
  close(): Promise<void>;
}

export function isTar(path: string): boolean {
  return /\.(tar|tar\.gz|tgz)$/i.test(path);
}

/** What a name beside it is made of: '.' and 'out/' are none of a directory. */
export function placeOf(path: string): string {
  return isTar(path) ? path : resolve(path);
}

/** By its name. job: what goes into it; see Workplace. */
export async function openTarget(path: string, job: object): Promise<Target> {
  return isTar(path) ? await TarTarget.open(path, job) : await DirectoryTarget.open(placeOf(path), job);
}
