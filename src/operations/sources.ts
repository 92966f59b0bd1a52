/**
 * The files of an archive one after the other, whatever it is: a directory, a tar, a compressed tar, or one of these two
 * from a stream. Nothing is unpacked to the disk, and no more than one file is in memory, however large the others say they are.
 */
import type { Dirent } from 'node:fs';
import { lstat, open, opendir, readFile, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { faultOfHead, HEAD_BYTES, SMALL_BYTES } from './file-head.js';
import { openInput } from './input.js';
import { MANIFEST, MAX_MANIFEST_BYTES } from './manifest.js';
import { MAX_FILE_BYTES, SUFFIX } from './version-file.js';

/** A file that is a version by its name, or one that cannot be; the manifest comes as itself. */
export interface Found {
  readonly path: string;
  readonly bytes?: Buffer;
  /** Why it has no bytes. */
  readonly fault?: string;
}

/** path: '-' is a tar on standard input. Aborted, it rejects, also where it has nothing to yield for long. */
export async function* filesOf(path: string, signal: AbortSignal): AsyncGenerator<Found> {
  if (path !== '-' && (await stat(path)).isDirectory()) yield* filesBelow(path, path, signal);
  else yield* filesOfTar(await openInput(path, signal));
}

/**
 * Follows no links. The versions of one adapter by their numbers: the file system lists them in any order, and --append
 * makes the last one the latest.
 */
async function* filesBelow(root: string, directory: string, signal: AbortSignal): AsyncGenerator<Found> {
  const files: Dirent[] = [];
  for await (const entry of await opendir(directory)) {
    signal.throwIfAborted();
    if (entry.isDirectory()) yield* filesBelow(root, join(directory, entry.name), signal);
    else if (isOurs(entry.name)) files.push(entry);
  }
  files.sort((one, other) => numberOf(one.name) - numberOf(other.name));
  for (const entry of files) {
    const full = join(directory, entry.name);
    const path = relative(root, full).split(sep).join('/');
    if (!entry.isFile()) yield { path, fault: 'it is no plain file' };
    else yield { path, ...(await readChecked(full)) };
  }
}

async function readChecked(full: string): Promise<Omit<Found, 'path'>> {
  const { size } = await lstat(full);
  if (size > mostOf(full)) return { fault: TOO_LARGE };
  const fault = size > SMALL_BYTES ? faultOfHead(await headOf(full), size) : undefined;
  return fault === undefined ? { bytes: await readFile(full) } : { fault };
}

async function headOf(full: string): Promise<Buffer> {
  const file = await open(full);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Of '12.lora'. What is no version by its name comes first. */
function numberOf(name: string): number {
  return /^\d+\./.test(name) ? Number.parseInt(name, 10) : 0;
}

const TOO_LARGE = 'it is larger than any such file';

function mostOf(path: string): number {
  return path.endsWith(SUFFIX) ? MAX_FILE_BYTES : MAX_MANIFEST_BYTES;
}

/** Rejects where the tar is damaged; what came before that was read. */
export async function* filesOfTar(stream: Readable): AsyncGenerator<Found> {
  const tar = extract();
  const source = await plainOf(stream);
  // Its error is the iteration's, too.
  const piped = pipeline(source, tar);
  piped.catch(() => undefined);
  for await (const entry of tar) {
    const { name: path, size = 0, type } = entry.header;
    const file = type === 'file' || type === 'contiguous-file';
    if (isOurs(path) && file && size <= mostOf(path)) {
      yield { path, ...(await collect(entry, size)) };
      continue;
    }
    if (isOurs(path)) yield { path, fault: file ? TOO_LARGE : 'it is no plain file' };
    entry.resume();
  }
  await piped;
}

/** One buffer of its size, once its first bytes speak for it; of another file the rest runs through. */
async function collect(entry: AsyncIterable<unknown>, size: number): Promise<Omit<Found, 'path'>> {
  let bytes = Buffer.alloc(Math.min(size, SMALL_BYTES));
  let fault: string | undefined;
  let at = 0;
  for await (const piece of entry) {
    if (fault !== undefined) continue;
    const chunk = piece as Buffer;
    if (at + chunk.length > bytes.length) {
      fault = faultOfHead(Buffer.concat([bytes.subarray(0, at), chunk]).subarray(0, HEAD_BYTES), size);
      if (fault !== undefined) continue;
      // Not filled: no page of it is there before it is written to.
      const whole = Buffer.allocUnsafeSlow(size);
      bytes.copy(whole, 0, 0, at);
      bytes = whole;
    }
    at += chunk.copy(bytes, at);
  }
  return fault === undefined ? { bytes: bytes.subarray(0, at) } : { fault };
}

function isOurs(path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  // tar on macOS adds files of its own that begin with '._'.
  return name === MANIFEST || (name.endsWith(SUFFIX) && !name.startsWith('.'));
}

/** Uncompressed if it was compressed: told by its first bytes, since a stream has no name. */
async function plainOf(stream: Readable): Promise<Readable> {
  const chunks: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < 2) {
    const next = await chunks.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  const whole = Readable.from(rejoined(head, chunks), { objectMode: false });
  if (head[0] !== 0x1f || head[1] !== 0x8b) return whole;
  const gunzip = createGunzip();
  pipeline(whole, gunzip).catch(() => undefined);
  return gunzip;
}

async function* rejoined(head: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    // Whoever stops reading closes the file.
    await rest.return?.();
  }
}
