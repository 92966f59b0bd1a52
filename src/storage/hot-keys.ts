/**
 * What memory held when a storage was closed, by name, for the next one to begin with: a file with a line an adapter, most
 * recently used first. A hint and nothing more: it holds no weights, a line that is wrong costs one look-up at most, and no
 * file, or one that cannot be read, keeps nothing from opening or closing; the process is warned.
 */
import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import type { Key } from '../coherence/key.js';
import type { MemoryTier } from '../tiers/memory.js';
import { DEFAULT_NAME, parseKey } from './input.js';
import type { AdapterKey } from './types.js';
import { warm } from './warming.js';

/** Of what a file may hold that is written or read. */
const MAX_KEYS = 100_000;
const MAX_BYTES = 64 * 1024 * 1024;

/** A node that starts is one of several that others are asking already. */
const PER_SECOND = 1000;

type Load = Parameters<typeof warm>[1];

export class HotKeys {
  readonly #file: string;
  readonly #memory: MemoryTier;
  readonly #stopping = new AbortController();
  readonly #reloading: Promise<boolean>;

  /** Begins to load what the file names. */
  constructor(file: string, memory: MemoryTier, load: Load) {
    this.#file = file;
    this.#memory = memory;
    this.#reloading = this.#reload(load);
  }

  /** Begins no further batch. */
  stop(): void {
    this.#stopping.abort(new Error('the storage was closed'));
  }

  /** Writes the file; after a reload that did not come to its end, it stays: it says more than memory does. */
  async close(): Promise<void> {
    this.stop();
    if (!(await this.#reloading)) return;
    await replaceFile(this.#file, lines(this.#memory.keys())).catch((error) => warned('cannot write', error));
  }

  /** False: there is more in the file than was loaded. */
  async #reload(load: Load): Promise<boolean> {
    const { signal } = this.#stopping;
    try {
      await warm(readKeys(this.#file), load, { signal, perSecond: PER_SECOND });
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The first start.
      if (code === 'ENOENT') return true;
      if (!signal.aborted) warned('cannot reload', error);
      return false;
    }
  }
}

/** `userId`, or `userId adapterName`; the name is all that follows the space. Throws InvalidAdapterError. */
export function parseKeyLine(line: string): AdapterKey {
  const space = line.indexOf(' ');
  const [userId, name] = space < 0 ? [line, DEFAULT_NAME] : [line.slice(0, space), line.slice(space + 1)];
  const key = parseKey(userId, name);
  return { userId: key.userId, adapterName: key.adapterName };
}

async function* readKeys(file: string): AsyncGenerator<AdapterKey> {
  const found = await stat(file);
  // A pipe would be waited for without end.
  if (!found.isFile()) throw new Error(`${file} is no regular file`);
  if (found.size > MAX_BYTES) throw new Error(`${file} is larger than ${MAX_BYTES} bytes`);
  for (const line of (await readFile(file, 'utf8')).split('\n', MAX_KEYS)) {
    const key = keyOn(line);
    if (key !== undefined) yield key;
  }
}

function keyOn(line: string): AdapterKey | undefined {
  try {
    return parseKeyLine(line);
  } catch {
    return undefined;
  }
}

function lines(keys: Iterable<Key>): string {
  const text: string[] = [];
  for (const { userId, adapterName } of keys) {
    if (text.length >= MAX_KEYS) break;
    // A name that would be two lines is left to its first load.
    if (!adapterName.includes('\n')) text.push(`${userId} ${adapterName}\n`);
  }
  return text.join('');
}

/** Whole or not at all, and for nobody else to read: user ids are nobody's business. */
async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function warned(what: string, error: unknown): void {
  const { message } = error as Error;
  process.emitWarning(`${what} the hot keys of memory: ${message}`, { code: 'LORA_STORE_HOT_KEYS' });
}
