/** `lora-store partition`: lora_adapters as hash partitions, or as one plain table again, while nodes go on. */
import { type Command, Option } from 'commander';
import { type Plan, planRebuild } from '../../operations/rebuild/plan.js';
import { cancelRebuild, type RebuildOptions, rebuild, underWay } from '../../operations/rebuild/rebuild.js';
import { commandFor, type Shape, shapeInWords } from '../../operations/rebuild/shape.js';
import type { Tables } from '../../operations/tables.js';
import { wholeWithin } from '../arguments.js';
import { acting, addCommand, type CommonOptions, type Context } from '../command.js';
import { EXIT, type ExitCode, UsageError } from '../exit.js';
import { bytes, type Progress, plural } from '../output.js';

interface Options extends CommonOptions {
  readonly by?: 'hash';
  readonly count?: number;
  readonly undo?: boolean;
  readonly cancel?: boolean;
  readonly dryRun?: boolean;
}

/** Each partition is a table with six indexes, all of which a transaction that looks into all of them locks. */
const MOST = 256;

export function addPartition(program: Command): void {
  addCommand(
    program,
    'partition',
    'make lora_adapters a table of hash partitions, or a plain one again, while it is used',
    'partition --by hash --count 32',
  )
    .addOption(new Option('--by <method>', 'by hash, of user_id').choices(['hash']))
    .option('--count <n>', `how many partitions, from 2 to ${MOST}`, count)
    .addOption(new Option('--undo', 'one plain table again').conflicts(['by', 'count']))
    .addOption(new Option('--cancel', 'give up one that was begun').conflicts(['by', 'count', 'undo', 'dryRun']))
    .option('--dry-run', 'say what would be done, and what is in its way')
    .action(
      acting(async (context, options: Options) => {
        const target = options.cancel ? undefined : targetOf(options);
        const tables = await context.uncheckedTables();
        if (target === undefined) return await cancel(context, tables, options);
        return options.dryRun
          ? await preview(context, tables, target)
          : await partition(context, tables, target, options);
      }),
    );
}

function targetOf({ by, count, undo }: Options): Shape {
  if (undo) return { partitions: 0 };
  if (by !== undefined && count !== undefined) return { partitions: count };
  throw new UsageError('say into what: --by hash --count 32, or --undo for one plain table');
}

function count(text: string): number {
  return wholeWithin(2, MOST, text);
}

async function preview(context: Context, tables: Tables, target: Shape): Promise<ExitCode> {
  const plan = await planRebuild(tables, target);
  context.out.result({ dryRun: true, ...plan }, () => words(plan, target));
  return plan.inTheWay.length === 0 ? EXIT.done : EXIT.failed;
}

function words({ partitions, rowsAbout, bytes: size, inTheWay, underWay }: Plan, target: Shape): string {
  const is = `lora_adapters is ${shapeInWords({ partitions })}, with about ${plural(rowsAbout, 'version')}`;
  if (partitions === target.partitions) return `${is}: nothing would be done`;
  return [
    is,
    `it would be copied into ${shapeInWords(target)}, which takes about ${bytes(size)} beside the ${bytes(size)} there are until the old one is dropped`,
    ...(underWay === undefined
      ? []
      : [`one is under way, into ${shapeInWords(underWay)}: ${commandFor(underWay)} goes on with it`]),
    ...inTheWay.map((thing) => `in the way: ${thing}`),
  ].join('\n');
}

async function partition(context: Context, tables: Tables, target: Shape, options: Options): Promise<ExitCode> {
  const begun = performance.now();
  const shown = new PhaseProgress(context);
  try {
    const { onProgress } = shown;
    const done = await rebuild(tables, target, { ...patience(context, options), onProgress });
    shown.end();
    const { changed, rows, mended } = done;
    const longestLockMs = Math.round(done.longestLockMs);
    const seconds = Number(((performance.now() - begun) / 1000).toFixed(1));
    context.out.result({ ...target, changed, rows, mended, longestLockMs, seconds }, () => {
      if (mended > 0) return `triggers were missing on ${plural(mended, 'partition')}, and are there`;
      if (!changed) return `lora_adapters is ${shapeInWords(target)} already`;
      const how = `${plural(rows, 'version')} copied and compared in ${seconds} s`;
      return `lora_adapters is ${shapeInWords(target)}: ${how}; no lock was held for longer than ${longestLockMs} ms`;
    });
    return EXIT.done;
  } catch (error) {
    shown.end();
    const left = await underWay(tables);
    if (left !== undefined)
      context.out.note(
        `what is done stays: \`${commandFor(left)}\` goes on from there, \`lora-store partition --cancel\` gives it up`,
      );
    throw error;
  }
}

async function cancel(context: Context, tables: Tables, options: Options): Promise<ExitCode> {
  const cancelled = await cancelRebuild(tables, patience(context, options));
  context.out.result({ cancelled }, () =>
    cancelled ? 'given up: lora_adapters is what it was' : 'nothing was under way',
  );
  return EXIT.done;
}

function patience({ signal }: Context, { timeout }: Options): RebuildOptions {
  return { signal, patienceMs: 1000 * timeout };
}

/** A bar for the copy, and another for the comparison. */
class PhaseProgress {
  readonly #context: Context;
  #phase: string | undefined;
  #progress: Progress | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  readonly onProgress = (phase: string, done: number, about: number): void => {
    if (phase !== this.#phase) {
      this.end();
      this.#phase = phase;
      this.#progress = this.#context.out.progress(`versions ${phase}`, about);
    }
    this.#progress?.at(done, about > 0 ? Math.max(about, done) : undefined);
  };

  end(): void {
    this.#progress?.end();
    this.#progress = undefined;
  }
}
