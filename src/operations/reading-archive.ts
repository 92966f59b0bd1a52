/** The versions of an archive, checked one by one; what cannot be one is reported, and so is an archive that ends early. */
import { AdapterCorruptError } from '../errors.js';
import { MANIFEST, promisedBy } from './manifest.js';
import type { Found } from './sources.js';

import { type StoredVersion, unpackVersion } from './version-file.js';

export interface ArchiveSelection {
  readonly userId?: string;
  readonly adapterName?: string;
}

/** problem: a sentence that names the file. */
export async function* versionsOf(
  files: AsyncIterable<Found>,
  selection: ArchiveSelection,
  problem: (sentence: string) => void,
  signal: AbortSignal,
): AsyncGenerator<StoredVersion> {
  const { userId, adapterName } = selection;
  let seen = 0;
  let promised: number | undefined;
  try {
    for await (const file of files) {
      signal.throwIfAborted();
      if (isManifest(file)) {
        promised = promisedBy(file.bytes);
        continue;
      }
      seen++;
      const version = read(file, problem);
      if (version === undefined) continue;
      if (userId !== undefined && version.userId !== userId) continue;
      if (adapterName !== undefined && version.adapterName !== adapterName) continue;
      yield version;
    }
  } catch (error) {
    // Whoever ended it may have closed the source under us: that says nothing of the archive.
    signal.throwIfAborted();
    if (!isDamage(error)) throw error;
    problem(`the archive cannot be read further after ${seen} files: ${(error as Error).message}`);
    return;
  }
  signal.throwIfAborted();
  if (promised === undefined) problem(`the archive is cut off: ${seen} files, and no ${MANIFEST} at its end`);
  else if (seen < promised) problem(`the archive holds ${seen} files, and was made with ${promised}`);
}

function read({ path, bytes, fault }: Found, problem: (sentence: string) => void): StoredVersion | undefined {
  if (bytes === undefined) {
    problem(`${path}: ${fault}`);
    return undefined;
  }
  try {
    return unpackVersion(path, bytes);
  } catch (error) {
    if (!(error instanceof AdapterCorruptError)) throw error;
    problem(error.message);
    return undefined;
  }
}

function isManifest({ path }: Found): boolean {
  return path === MANIFEST || path.endsWith(`/${MANIFEST}`);
}

/** zlib's codes, and the sentences of tar-stream, which has none. */
function isDamage(error: unknown): boolean {
  const { code = '', message = '' } = error as NodeJS.ErrnoException;
  return (
    code.startsWith('Z_') ||
    /tar header|Unexpected end of data|Invalid header|Header exceeds|Writable stream closed prematurely|Premature close/.test(
      message,
    )
  );
}
