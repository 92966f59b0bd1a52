/**
 * One process at a time: a file that names who holds it. That of a process which died on this machine is taken over;
 * that of another machine is not ours to judge.
 */
import { randomUUID } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { readIfAny } from './durable.js';

/** Resolves with what releases it. Rejects where somebody holds it. */
export async function lockFile(path: string): Promise<() => Promise<void>> {
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), id: randomUUID() });
  for (;;) {
    try {
      await writeFile(path, mine, { flag: 'wx' });
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const theirs = await readIfAny(path);
    if (theirs === undefined) continue;
    if (isHeld(theirs)) {
      throw new Error(`another process works on this (${theirs}): wait for it, or remove ${path} where it is no more`);
    }
    // Moved, not removed: of several who find it stale one succeeds, and none takes what another has just made.
    const aside = `${path}.${randomUUID()}`;
    await rename(path, aside).catch(ignoreMissing);
    const moved = await readIfAny(aside);
    if (moved !== undefined && moved !== theirs) await rename(aside, path);
    await rm(aside, { force: true });
  }
}

function isHeld(content: string): boolean {
  const { pid, host } = holderOf(content);
  if (host !== hostname()) return true;
  // A command takes a lock once: in a container, where each is process 1, this is the one before.
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** An empty file is a holder who has only just made it, or died doing so: whoever reads the message can tell. */
function holderOf(content: string): { pid: number; host: string } {
  try {
    const { pid, host } = JSON.parse(content);
    return { pid: Number(pid), host: String(host) };
  } catch {
    return { pid: 0, host: 'unknown' };
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
