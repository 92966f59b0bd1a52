/**
 * One process at a time: a directory with one entry, whose name says who holds it. A process that died on this machine is
 * taken over from; that of another machine is not ours to judge. Machines are told apart by their names.
 *
 * Whoever wants it renames a directory of theirs, the entry in it, to `path`, which no system lets happen while an entry is
 * there. So the lock comes into being whole, and only by this one step. A dead holder's entry is removed by its name, which
 * nobody bears again: of several who find it dead, none removes what another has taken meanwhile.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isAlive } from '../postgres/embedded/postmaster.js';

/** What a lock is made with: a test stops between its steps. */
export type Files = Pick<typeof fs, 'mkdir' | 'readdir' | 'rename' | 'rmdir'>;

/** Resolves with what releases it. Rejects where somebody holds it. */
export async function takeLock(path: string, files: Files = fs): Promise<() => Promise<void>> {
  const mine = await newEntry();
  const beside = `${path}.${randomUUID()}`;
  await files.mkdir(beside);
  try {
    await files.mkdir(join(beside, mine));
    while (!(await isMoved(files, beside, path))) {
      for (const entry of await entriesOf(files, path)) {
        if (await isHeld(entry)) throw new Error(heldBy(entry, path));
        await removeEmpty(files, join(path, entry));
      }
      // Windows renames over no directory, not even an empty one.
      await removeEmpty(files, path);
    }
  } catch (error) {
    await removeEmpty(files, join(beside, mine));
    await removeEmpty(files, beside);
    throw error;
  }
  return async () => {
    await removeEmpty(files, join(path, mine));
    await removeEmpty(files, path);
  };
}

/** process number, its start, what makes it the only one, host. */
const ENTRY = /^(\d+)\.(\d*)\.([0-9a-f-]+)@(.+)$/;

async function newEntry(): Promise<string> {
  const start = (await startOf(process.pid)) ?? '';
  return `${process.pid}.${start}.${randomUUID()}@${encodeURIComponent(hostname())}`;
}

/** A number alone says little: after a death, or in a container that was started again, it soon belongs to somebody else. */
async function isHeld(entry: string): Promise<boolean> {
  const [, pid, start, , host] = ENTRY.exec(entry) ?? [];
  if (host !== encodeURIComponent(hostname())) return true;
  if (!isAlive(Number(pid))) return false;
  const now = await startOf(Number(pid));
  return !start || now === undefined || now === start;
}

/**
 * When that process began, in ticks since the machine did; 'dead' for one that nobody has waited for yet. Undefined where the
 * system does not say, as on macOS and Windows: there, whoever has the number is taken for the holder.
 */
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // Behind the program's name, which may hold anything: the third field, the state, and the 22nd.
  const [state, ...rest] = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  return state === 'Z' || state === 'X' ? 'dead' : rest[18];
}

function heldBy(entry: string, path: string): string {
  const [, pid, , , host] = ENTRY.exec(entry) ?? [];
  const who = pid === undefined ? `who left ${entry}` : `process ${pid} of ${decodeURIComponent(host ?? '')}`;
  return `another process works on this (${who}): wait for it, or remove the directory ${path} where it is no more`;
}

/** Whether `from` took the place; not where somebody's entry is. */
async function isMoved(files: Files, from: string, to: string): Promise<boolean> {
  const taken = ['ENOTEMPTY', 'EEXIST', ...(process.platform === 'win32' ? ['EPERM'] : [])];
  return await files.rename(from, to).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (taken.includes(error.code ?? '')) return false;
      throw error;
    },
  );
}

async function entriesOf(files: Files, path: string): Promise<string[]> {
  return await files.readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

async function removeEmpty(files: Files, path: string): Promise<void> {
  await files.rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  });
}
