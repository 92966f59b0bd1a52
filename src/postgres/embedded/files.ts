/**
 * Files that another process may be making, giving away or removing at the same moment.
 */
import { chown, lchown, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Account } from './account.js';

export async function statIfAny(path: string) {
  return stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/** Removes a tree of ours; what another process writes into it meanwhile goes at the next start. */
export async function discard(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY') throw error;
  });
}

/**
 * Gives a tree to the account; links are given themselves, never followed. The top comes last: it tells that the rest
 * is done. Another process may be a step ahead, with a server that replaces files already.
 */
export async function giveTree(root: string, account: Account): Promise<void> {
  for (const entry of await readdir(root, { withFileTypes: true })) {
    const path = join(root, entry.name);
    const given = entry.isDirectory() ? giveTree(path, account) : lchown(path, account.uid, account.gid);
    await given.catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
  await chown(root, account.uid, account.gid);
}
