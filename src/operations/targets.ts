/** What versions are written to: a tar, compressed or not, a directory of the same files, or a stream. */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { syncDirectory, writeSynced } from './durable.js';
import { gzipped, type TarFile, tarEnd, tarPiece } from './tar.js';
import { packVersion, pathOf, type StoredVersion, type VersionKey } from './version-file.js';
import { Workplace } from './workplace.js';

/** The last file of an archive, by which a reader knows that nothing is cut off. */
export const MANIFEST = 'lora-store.json';
const BEGINNING = new Date(0);

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

/** By its name. job: what goes into it; see Workplace. */
export async function openTarget(path: string, job: object): Promise<Target> {
  return isTar(path) ? await TarTarget.open(path, job) : await DirectoryTarget.open(path.replace(/[/\\]+$/, ''), job);
}

export class TarTarget implements Target {
  readonly after: VersionKey | undefined;
  versions: number;
  leftOut: number;
  readonly #workplace: Workplace;
  readonly #file: FileHandle;
  readonly #compressed: boolean;
  #bytes: number;

  private constructor(workplace: Workplace, file: FileHandle) {
    const { versions = 0, leftOut = 0, bytes = 0, after } = workplace.begun ?? {};
    this.after = after;
    this.leftOut = leftOut;
    this.versions = versions;
    this.#bytes = bytes;
    this.#workplace = workplace;
    this.#file = file;
    this.#compressed = !/\.tar$/i.test(workplace.target);
  }

  static async open(path: string, job: object): Promise<TarTarget> {
    const workplace = await Workplace.take(path, job);
    try {
      const file = await open(workplace.partial, workplace.begun === undefined ? 'wx+' : 'r+');
      const target = new TarTarget(workplace, file);
      await target.#cut();
      return target;
    } catch (error) {
      await workplace.leave();
      throw error;
    }
  }

  /** check: of these versions as they came back from the file, before they count as written. */
  async write(
    versions: readonly StoredVersion[],
    after?: VersionKey,
    check?: (piece: Buffer) => Promise<void>,
  ): Promise<void> {
    const begin = this.#bytes;
    await this.#append(await tarPiece(versions.map(tarFile)));
    if (check !== undefined) await check(await this.#readBack(begin));
    this.versions += versions.length;
    const { versions: count, leftOut } = this;
    await this.#workplace.save({ versions: count, leftOut, bytes: this.#bytes, ...(after && { after }) });
  }

  async finish(): Promise<void> {
    const manifest = { path: MANIFEST, bytes: manifestOf(this.versions), time: BEGINNING };
    await this.#append(Buffer.concat([await tarPiece([manifest]), tarEnd()]));
    await this.#workplace.publish();
  }

  /** Nothing is in it: leaves no trace. */
  async discard(): Promise<void> {
    await this.#workplace.discard();
  }

  async close(): Promise<void> {
    await this.#file.close();
    await this.#workplace.leave();
  }

  async #append(piece: Buffer): Promise<void> {
    const bytes = this.#compressed ? await gzipped(piece) : piece;
    for (let at = 0; at < bytes.length; ) {
      // A disk that is filling up takes a part before it refuses.
      at += (await this.#file.write(bytes, at, bytes.length - at, this.#bytes + at)).bytesWritten;
    }
    await this.#file.sync();
    this.#bytes += bytes.length;
  }

  async #readBack(begin: number): Promise<Buffer> {
    const bytes = Buffer.alloc(this.#bytes - begin);
    await this.#file.read(bytes, 0, bytes.length, begin);
    return bytes;
  }

  /** What an earlier run left unfinished behind its last checkpoint. */
  async #cut(): Promise<void> {
    const { size } = await this.#file.stat();
    if (size < this.#bytes) {
      throw new Error(`${this.#workplace.partial} is shorter than it was: move it away, or bring it back`);
    }
    await this.#file.truncate(this.#bytes);
  }
}

class DirectoryTarget implements Target {
  readonly after: VersionKey | undefined;
  versions: number;
  leftOut: number;
  readonly #workplace: Workplace;

  private constructor(workplace: Workplace) {
    this.after = workplace.begun?.after;
    this.versions = workplace.begun?.versions ?? 0;
    this.leftOut = workplace.begun?.leftOut ?? 0;
    this.#workplace = workplace;
  }

  static async open(path: string, job: object): Promise<DirectoryTarget> {
    const workplace = await Workplace.take(path, job);
    await mkdir(workplace.partial, { recursive: true });
    return new DirectoryTarget(workplace);
  }

  async write(versions: readonly StoredVersion[], after?: VersionKey): Promise<void> {
    const root = this.#workplace.partial;
    const folders = new Set(versions.map((version) => join(root, dirname(pathOf(version)))));
    for (const folder of folders) await mkdir(folder, { recursive: true });
    // Together: a disk that is asked to sync many files does them in one go.
    await Promise.all(versions.map((version) => writeSynced(join(root, pathOf(version)), packVersion(version))));
    const above = [...folders].map((folder) => dirname(folder));
    for (const folder of new Set([...folders, ...above, root])) await syncDirectory(folder);
    this.versions += versions.length;
    const { versions: count, leftOut } = this;
    await this.#workplace.save({ versions: count, leftOut, bytes: 0, ...(after && { after }) });
  }

  async finish(): Promise<void> {
    await writeSynced(join(this.#workplace.partial, MANIFEST), manifestOf(this.versions));
    await syncDirectory(this.#workplace.partial);
    await this.#workplace.publish();
  }

  async close(): Promise<void> {
    await this.#workplace.leave();
  }
}

/** A tar to whoever reads the other end, as fast as that one reads. */
export class StreamTarget implements Target {
  readonly after = undefined;
  versions = 0;
  leftOut = 0;
  readonly #stream: Writable;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  async write(versions: readonly StoredVersion[]): Promise<void> {
    await this.#send(await tarPiece(versions.map(tarFile)));
    this.versions += versions.length;
  }

  async finish(): Promise<void> {
    const manifest = { path: MANIFEST, bytes: manifestOf(this.versions), time: BEGINNING };
    await this.#send(Buffer.concat([await tarPiece([manifest]), tarEnd()]));
  }

  async close(): Promise<void> {}

  #send(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }
}

function tarFile(version: StoredVersion): TarFile {
  return { path: pathOf(version), bytes: packVersion(version), time: new Date(version.updatedAt) };
}

function manifestOf(versions: number): Buffer {
  return Buffer.from(`${JSON.stringify({ format: 'lora-store', formatVersion: 1, versions })}\n`);
}
