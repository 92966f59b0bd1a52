/** Adapters that a file lists, a line each: `userId`, or `userId adapterName`. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { parseKeyLine } from '../storage/hot-keys.js';
import type { AdapterKey } from '../storage/types.js';

export interface LinesOptions {
  readonly signal: AbortSignal;
  /** A line that names no adapter; it is passed over. */
  readonly onBadLine: (line: number, error: Error) => void;
}

/** As they come: a list of any length, and one that somebody is still writing. An aborted signal ends it. */
export async function* keyLines(input: Readable, { signal, onBadLine }: LinesOptions): AsyncGenerator<AdapterKey> {
  let line = 0;
  for await (const text of createInterface({ input, signal, crlfDelay: Number.POSITIVE_INFINITY })) {
    line++;
    if (text.trim() === '') continue;
    try {
      yield parseKeyLine(text);
    } catch (error) {
      onBadLine(line, error as Error);
    }
  }
  signal.throwIfAborted();
}
