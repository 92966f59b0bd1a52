/** What a command reads, a file or a pipe, as a stream that ends with a signal, whatever the other end does. */
import { open as openFile } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';

/**
 * path: '-' is standard input. Rejects where there is no such file. Aborted, the stream is destroyed: whoever reads it hears
 * that it ended early, and the signal says why.
 */
export async function openInput(path: string, signal: AbortSignal): Promise<Readable> {
  const stream = await opened(path, signal);
  const end = () => stream.destroy();
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
  return stream;
}

async function opened(path: string, signal: AbortSignal): Promise<Readable> {
  if (path === '-') return process.stdin;
  // Such as <(...) of a shell. A file is read in a thread, which nobody could call back from a pipe that is silent.
  if ((await stat(path)).isFIFO()) return new Socket({ fd: await openPipe(path, signal), writable: false });
  return (await open(path)).createReadStream();
}

/** The system waits there until somebody opens the other end: an aborted signal has us do that. */
async function openPipe(path: string, signal: AbortSignal): Promise<number> {
  let both: Promise<FileHandle> | undefined;
  const release = () => {
    both = open(path, 'r+');
  };
  signal.throwIfAborted();
  signal.addEventListener('abort', release, { once: true });
  try {
    return await promisify(openFile)(path, 'r');
  } finally {
    signal.removeEventListener('abort', release);
    await (await both)?.close();
  }
}
