/** The last file of an archive, by which a reader knows that nothing is cut off. */
import type { TarFile } from './tar.js';

export const MANIFEST = 'lora-store.json';
export const MAX_MANIFEST_BYTES = 4096;

export function manifestOf(versions: number): Buffer {
  return Buffer.from(`${JSON.stringify({ format: 'lora-store', formatVersion: 1, versions })}\n`);
}

export function manifestFile(versions: number): TarFile {
  return { path: MANIFEST, bytes: manifestOf(versions), time: new Date(0) };
}

/** How many files it promises; undefined where it is not one of ours. */
export function promisedBy(manifest: Buffer | undefined): number | undefined {
  try {
    const { format, formatVersion, versions } = JSON.parse(String(manifest));
    return format === 'lora-store' && formatVersion === 1 && Number.isInteger(versions) ? versions : undefined;
  } catch {
    return undefined;
  }
}
