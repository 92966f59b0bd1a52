/** Files that are on the disk, and not only in the kernel's memory, once a promise resolves. */
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Beside it, then renamed: whoever looks finds the old content or the new one, whole. What fails leaves nothing beside it. */
export async function writeDurably(path: string, content: string | Buffer): Promise<void> {
  const beside = `${path}.new`;
  try {
    await writeSynced(beside, content);
    await rename(beside, path);
  } catch (error) {
    // Of a full disk, it would go on filling it. Where it cannot be removed either, the first error says more.
    await rm(beside, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncDirectory(dirname(path));
}

export async function writeSynced(path: string, content: string | Buffer): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** So that names in it last. Windows neither can nor needs to. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export async function readIfAny(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}
