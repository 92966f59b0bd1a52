/** A tar to a stream, whose end nobody can go on from. */
import { manifestFile } from './manifest.js';
import { fileOf, tarEnd, tarPiece } from './tar.js';
import type { Target } from './targets.js';
import type { StoredVersion } from './version-file.js';

/** As fast as whoever reads the other end. */
export class StreamTarget implements Target {
  readonly after = undefined;
  versions = 0;
  leftOut = 0;
  readonly #send: (bytes: Buffer) => Promise<void>;

  /** send: resolves once the stream has taken them. */
  constructor(send: (bytes: Buffer) => Promise<void>) {
    this.#send = send;
  }

  async write(versions: readonly StoredVersion[]): Promise<void> {
    await this.#send(await tarPiece(versions.map(fileOf)));
    this.versions += versions.length;
  }

  async finish(): Promise<void> {
    await this.#send(Buffer.concat([await tarPiece([manifestFile(this.versions)]), tarEnd()]));
  }

  async close(): Promise<void> {}
}
