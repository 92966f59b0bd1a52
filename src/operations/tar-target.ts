/** A tar that grows piece by piece, each on the disk before it counts; compressed, each is a gzip member of its own. */
import { type FileHandle, open } from 'node:fs/promises';
import { manifestFile } from './manifest.js';
import { fileOf, gzipped, tarEnd, tarPiece } from './tar.js';
import type { Target } from './targets.js';
import type { StoredVersion, VersionKey } from './version-file.js';
import { Workplace } from './workplace.js';

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
    await this.#append(await tarPiece(versions.map(fileOf)));
    if (check !== undefined) await check(await this.#readBack(begin));
    this.versions += versions.length;
    const { versions: count, leftOut } = this;
    await this.#workplace.save({ versions: count, leftOut, bytes: this.#bytes, ...(after && { after }) });
  }

  async finish(): Promise<void> {
    await this.#append(Buffer.concat([await tarPiece([manifestFile(this.versions)]), tarEnd()]));
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
