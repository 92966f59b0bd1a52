/**
 * stdout and stderr, either of which may be gone before the command is: `head` leaves, a disk is full. Whoever writes to
 * stdout hears of it. Of stderr there is nobody left to tell, and no command ends for want of a reader of its remarks.
 */

/** stdout takes no more. */
export class StdoutError extends Error {
  /** Who read the other end has had enough, such as `head`. */
  readonly readerLeft: boolean;

  constructor(cause: NodeJS.ErrnoException) {
    super(`cannot write to stdout: ${cause.message}`, { cause });
    this.readerLeft = cause.code === 'EPIPE';
  }
}

/** Before anything is written. A write to stdout has its own failure for an answer; the event would end the process. */
export function expectLosses(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
}

/** Resolves once stdout has taken it, as fast as its reader. Rejects with StdoutError. */
export function toStdout(chunk: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(chunk, (cause) => (cause ? reject(new StdoutError(cause)) : resolve()));
  });
}
