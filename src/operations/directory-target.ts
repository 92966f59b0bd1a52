/** A directory of versions, in which `tar -x` would have put them. */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory, writeSynced } from './durable.js';
import { MANIFEST, manifestOf } from './manifest.js';
import type { Target } from './targets.js';
import { packVersion, pathOf, type StoredVersion, type VersionKey } from './version-file.js';
import { Workplace } from './workplace.js';

export class DirectoryTarget implements Target {
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
