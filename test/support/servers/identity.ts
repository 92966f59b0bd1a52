/**
 * Postgres refuses to run as root. Where the tests run as root, as they do in most containers, its server runs as an
 * unprivileged user of the machine: `postgres` where there is one, else `nobody`.
 */
import { readFileSync } from 'node:fs';
import type { Identity } from './daemon.js';

const candidates = ['postgres', 'nobody'];

/** undefined: this process is not root and needs nobody else. */
export function unprivileged(): Identity | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const candidate of candidates) {
    const [, , uid, gid] = users.find(([name]) => name === candidate) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(`Postgres refuses to run as root, and /etc/passwd names none of: ${candidates.join(', ')}`);
}
