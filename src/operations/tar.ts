/** Versions as pieces of a tar: pieces one after the other, and the end behind them, are a tar. Through gzip they stay one. */
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { packVersion, pathOf, type StoredVersion } from './version-file.js';

/** What every tar ends with. */
const END = Buffer.alloc(1024);

export interface TarFile {
  readonly path: string;
  readonly bytes: Buffer;
  readonly time: Date;
}

export function fileOf(version: StoredVersion): TarFile {
  return { path: pathOf(version), bytes: packVersion(version), time: new Date(version.updatedAt) };
}

/** The same files give the same bytes. */
export async function tarPiece(files: readonly TarFile[]): Promise<Buffer> {
  const packing = pack();
  for (const { path, bytes, time } of files) packing.entry({ name: path, mtime: time }, bytes);
  packing.finalize();
  const whole = await buffer(packing);
  return whole.subarray(0, whole.length - END.length);
}

export function tarEnd(): Buffer {
  return END;
}

/** A member of its own: gzip reads members one after the other as one file. */
export const gzipped = promisify<Buffer, Buffer>(gzip);
