/**
 * What commands print. Results go to stdout, as text or, with --json, as one JSON document; progress and errors go to
 * stderr, so that a pipe holds results and nothing else.
 */
import cliProgress, { type GenericFormatter } from 'cli-progress';
import Table from 'cli-table3';
import { StdoutError, toStdout } from './streams.js';

/** Milliseconds between two lines of progress where there is no terminal. */
const LINE_EVERY_MS = 5000;

export interface Progress {
  /** So much is done. total: where it became known only now, or grew. */
  at(done: number, total?: number): void;
  end(): void;
}

export class Output {
  readonly #json: boolean;
  readonly #results: Promise<void>[] = [];

  constructor(options: { json: boolean }) {
    this.#json = options.json;
  }

  /** The result of a command: `value` with --json, else the text. Called once a command. */
  result(value: unknown, text: () => string): void {
    this.print(line(this.#json ? JSON.stringify(value, undefined, 2) : text()));
  }

  /** To stdout as it is. Whether it went there says settled(). */
  print(text: string): void {
    const printed = toStdout(text);
    printed.catch(() => undefined);
    this.#results.push(printed);
  }

  /** Resolves once all results are out of this process, or nobody wants them. Rejects where stdout did not take them. */
  async settled(): Promise<void> {
    try {
      await Promise.all(this.#results);
    } catch (error) {
      if (!isReaderLeaving(error)) throw error;
    }
  }

  /** A remark beside the result. One line, whatever name of somebody else's it quotes. */
  note(text: string): void {
    tell(this.#json ? JSON.stringify({ note: text }) : `lora-store: ${printable(text)}`);
  }

  /** What a command ends with, in one line. */
  error(error: unknown): void {
    if (isReaderLeaving(error)) return;
    // The library speaks of its options; here they are flags.
    const message = (error instanceof Error ? error.message : String(error)).replaceAll(
      'postgresTimeoutMs',
      '--timeout',
    );
    const { code } = error as { code?: unknown };
    const named = { message, ...(typeof code === 'string' ? { code } : {}) };
    tell(this.#json ? JSON.stringify({ error: named }) : `lora-store: ${printable(message)}`);
  }

  /** What commander says of a command line that it cannot read: 'error: …', a line or two. */
  refusal(text: string): void {
    if (this.#json) this.error(text.trim().replace(/^error: /, ''));
    else tell(readable(text));
  }

  /** A bar on a terminal, else a line now and then. total: 0 where it is not known. what: 'rows', 'adapters'. */
  progress(what: string, total: number): Progress {
    if (this.#json) return lines(total, (done, of) => JSON.stringify({ progress: { what, done, total: of || null } }));
    if (process.stderr.isTTY) return bar(what, total);
    return lines(total, (done, of) => (of > 0 ? `${done} of ${of} ${what}` : `${done} ${what}`));
  }
}

function bar(what: string, total: number): Progress {
  // Without a total there is nothing that a bar could be a part of; it may become known.
  const format: GenericFormatter = (options, params, payload) => {
    const counted = params.total > 0 ? '{bar} {value}/{total}' : '{value}';
    return cliProgress.Format.Formatter(
      { ...options, format: `${counted} ${what} {duration_formatted}` },
      params,
      payload,
    );
  };
  const one = new cliProgress.SingleBar({ format, stream: process.stderr, hideCursor: true, clearOnComplete: true });
  one.start(total, 0);
  return {
    at(done, grown) {
      if (grown !== undefined) one.setTotal(grown);
      one.update(done);
    },
    end: () => one.stop(),
  };
}

function lines(total: number, words: (done: number, of: number) => string): Progress {
  let last = performance.now();
  let of = total;
  return {
    at(done, grown) {
      of = grown ?? of;
      const now = performance.now();
      if (now - last < LINE_EVERY_MS) return;
      last = now;
      tell(words(done, of));
    },
    end() {},
  };
}

function isReaderLeaving(error: unknown): boolean {
  return error instanceof StdoutError && error.readerLeft;
}

function tell(text: string): void {
  process.stderr.write(line(text));
}

function line(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

/** Columns under their names, without borders: what `awk` and `cut` can read. Numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const numeric = head.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'));
  const lines = new Table({
    head: [...head],
    colAligns: numeric.map((right) => (right ? 'right' : 'left')),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: Object.fromEntries(BORDERS.map((name) => [name, ''])),
  });
  lines.push(...rows.map((row) => row.map((cell) => printable(String(cell)))));
  return lines
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** A name may hold anything, also what a terminal would obey, and what turns the direction of the text behind it. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, (character) => {
    const code = character.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code.padStart(2, '0')}`;
  });
}

/** Of several lines. */
function readable(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

const BORDERS = [
  ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
  ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'],
];

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'];

/** '41.1 kB': units of 1,000. */
export function bytes(count: number): string {
  const step = Math.min(UNITS.length - 1, count < 1 ? 0 : Math.floor(Math.log10(count) / 3));
  const form = new Intl.NumberFormat('en', { style: 'unit', unit: UNITS[step] as string, maximumSignificantDigits: 3 });
  return form.format(count / 1000 ** step);
}

/** Four digits that count, as a number: columns of them stand to the right. */
export function short(value: number): number {
  return Number(value.toPrecision(4));
}

/** How many of a thing: '1 version', '2 versions'. */
export function plural(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`;
}
