/**
 * Whose process the server is. Postgres refuses to run as root, so root hands it to an account without rights: the
 * owner of the directory if that is somebody, else `postgres`, else `nobody`. Anyone else runs it as himself.
 */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { statIfAny } from './files.js';

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** The account for a server whose files are under `paths` (the most telling first); undefined: the caller's own. */
export async function serverAccount(paths: readonly string[]): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = await knownAccounts();
  for (const path of paths) {
    const owner = await statIfAny(path);
    if (owner === undefined || owner.uid === 0) continue;
    const known = accounts.find((account) => account.uid === owner.uid);
    return known ?? { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  }
  for (const name of ['postgres', '_postgres', 'nobody']) {
    const account = accounts.find((candidate) => candidate.name === name);
    if (account !== undefined) return account;
  }
  return { name: 'nobody', uid: 65534, gid: 65534 };
}

/** The outermost directory on the way to `path` that the account may not enter. */
export async function closedAncestor(path: string, account: Account): Promise<string | undefined> {
  const ancestors: string[] = [];
  for (let at = dirname(path); ; at = dirname(at)) {
    ancestors.unshift(at);
    if (at === dirname(at)) break;
  }
  for (const ancestor of ancestors) {
    const entry = await statIfAny(ancestor);
    if (entry === undefined) return undefined;
    // The kernel asks one class only: an owner without the bit is refused even where everyone else has it.
    const bit = entry.uid === account.uid ? 0o100 : entry.gid === account.gid ? 0o010 : 0o001;
    if ((entry.mode & bit) === 0) return ancestor;
  }
  return undefined;
}

/** What `spawn` needs to become the account. */
export function identity(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

async function knownAccounts(): Promise<Account[]> {
  const text = await readFile('/etc/passwd', 'utf8').catch((error: NodeJS.ErrnoException) => {
    // A distroless image has no such file; numbers serve as well.
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  return text.split('\n').flatMap((line) => {
    const [name, , uid, gid] = line.split(':');
    return name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
  });
}
