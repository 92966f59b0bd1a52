/** Asking before something is gone for ever: on a terminal; elsewhere --yes has to say it beforehand. */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { UsageError } from './exit.js';

export interface ConfirmOptions {
  readonly yes?: boolean;
}

export function withYes(command: Command): Command {
  return command.option('--yes', 'do not ask; needed where there is no terminal');
}

/** Before anything is opened: throws where nobody can be asked. */
export function expectAnswer({ yes }: ConfirmOptions): void {
  if (yes || (process.stdin.isTTY && process.stderr.isTTY)) return;
  throw new UsageError('this asks before it deletes, and there is no terminal to ask on: add --yes');
}

/** True for --yes, and for an answer that begins with y. Rejects when `signal` is aborted, as by Ctrl-C. */
export async function confirmed({ yes }: ConfirmOptions, question: string, signal: AbortSignal): Promise<boolean> {
  if (yes) return true;
  // terminal: false leaves the keys to the terminal itself, Ctrl-C among them.
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  try {
    return await new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      // Ctrl-D: there is no answer.
      lines.once('close', () => resolve(false));
      lines.question(`${question} [y/N] `, (answer) => resolve(/^\s*y/i.test(answer)));
    });
  } finally {
    lines.close();
  }
}
