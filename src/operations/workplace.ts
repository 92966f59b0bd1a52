/**
 * Where an archive grows: TARGET.partial, and TARGET.partial.json, which says how far it is whole. Only what is finished is
 * called TARGET. Whoever comes after a death or Ctrl-C goes on from there; two at once are refused.
 */
import { lstat, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Checkpoint, checkpointText, parseCheckpoint } from './checkpoint.js';
import { readIfAny, syncDirectory, writeDurably } from './durable.js';
import { takeLock } from './lock.js';

export class Workplace {
  readonly target: string;
  /** How far an earlier run came. */
  readonly begun: Checkpoint | undefined;
  readonly #job: object;
  readonly #unlock: () => Promise<void>;

  private constructor(target: string, begun: Checkpoint | undefined, job: object, unlock: () => Promise<void>) {
    this.target = target;
    this.begun = begun;
    this.#job = job;
    this.#unlock = unlock;
  }

  /** job: what is being written, as JSON; only the same job is gone on with. */
  static async take(target: string, job: object): Promise<Workplace> {
    await refuseTaken(target);
    await refuseNowhere(target);
    const unlock = await takeLock(`${target}.partial.lock`);
    try {
      const begun = await readCheckpoint(target, job);
      const workplace = new Workplace(target, begun, job, unlock);
      // Before there is anything to be found without it.
      if (begun === undefined) await workplace.save({ versions: 0, leftOut: 0, bytes: 0 });
      return workplace;
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  get partial(): string {
    return `${this.target}.partial`;
  }

  /** From here on that much is never taken back. */
  async save(checkpoint: Checkpoint): Promise<void> {
    await writeDurably(`${this.partial}.json`, checkpointText({ job: this.#job, checkpoint }));
  }

  /** It is whole. */
  async publish(): Promise<void> {
    await refuseTaken(this.target);
    // An empty directory may be there, and not every system renames over it.
    await rmdir(this.target).catch(() => undefined);
    await rename(this.partial, this.target);
    await syncDirectory(dirname(this.target));
    await rm(`${this.partial}.json`, { force: true });
  }

  async discard(): Promise<void> {
    await rm(this.partial, { force: true });
    await rm(`${this.partial}.json`, { force: true });
  }

  async leave(): Promise<void> {
    await this.#unlock();
  }
}

/** What is there already may be precious. */
export async function refuseTaken(target: string): Promise<void> {
  if (await isThere(target)) throw new Error(`${target} is there already: name another, or move it away`);
}

/** No directory is made on a slip of the pen. */
async function refuseNowhere(target: string): Promise<void> {
  const directory = dirname(target);
  const found = await stat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (!found?.isDirectory())
    throw new Error(`there is no directory ${directory} for ${target}: make it, or name another`);
}

async function isThere(path: string): Promise<boolean> {
  try {
    const found = await lstat(path);
    return !found.isDirectory() || (await readdir(path)).length > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function readCheckpoint(target: string, job: object): Promise<Checkpoint | undefined> {
  const path = `${target}.partial.json`;
  const text = await readIfAny(path);
  const partial = await isThere(`${target}.partial`);
  // An archive may hold the only copy of what it names: nothing is begun again over it.
  const apart = `move ${target}.partial and ${path} away to begin anew (what is in it can be imported)`;
  if (text === undefined) {
    if (partial) throw new Error(`${target}.partial is there without ${path}: ${apart}`);
    return undefined;
  }
  const saved = parseCheckpoint(text);
  const nothing = saved !== undefined && saved.checkpoint.versions > 0 && saved.checkpoint.bytes === 0;
  if (saved === undefined || (nothing && partial && !(await lstat(`${target}.partial`)).isDirectory())) {
    throw new Error(`${path} cannot be relied on, what it says is damaged or not ours: ${apart}`);
  }
  const { job: theirs, checkpoint } = saved;
  if (!partial && checkpoint.versions > 0) throw new Error(`${target}.partial is gone, and ${path} is not: ${apart}`);
  if (!partial) return undefined;
  if (isDeepStrictEqual(theirs, JSON.parse(JSON.stringify(job)))) return checkpoint;
  throw new Error(
    `${target}.partial was begun with other options, or from another database, ${JSON.stringify(theirs)}: repeat them, or ${apart}`,
  );
}
