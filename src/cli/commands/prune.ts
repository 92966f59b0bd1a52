/** `lora-store prune`: old versions, of one user or of all, a batch at a time. */
import { type Command, Option } from 'commander';
import { adaptersAbout, type PruneRule, prunePreview } from '../../operations/prune-preview.js';
import type { Tables } from '../../operations/tables.js';
import type { PruneProgress } from '../../storage/prune.js';
import { days, wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions, type Context, withRedis } from '../command.js';
import { EXIT, type ExitCode, UsageError } from '../exit.js';
import { bytes, plural } from '../output.js';

interface Options extends CommonOptions {
  readonly keep?: number;
  readonly olderThan?: number;
  readonly includeLatest?: boolean;
  readonly user?: string;
  readonly from?: string;
  readonly dryRun?: boolean;
}

export function addPrune(program: Command): void {
  withRedis(addCommand(program, 'prune', 'delete old versions, in short transactions', 'prune --older-than 90d'))
    .addOption(new Option('--keep <n>', 'keep the newest n of each adapter').argParser(wholeNumber))
    .addOption(
      new Option('--older-than <age>', "delete what was created longer ago, such as '90d': m, h, d, w or y")
        .argParser(days)
        .conflicts('keep'),
    )
    .addOption(new Option('--include-latest', 'with --older-than: also the latest of an adapter').conflicts('keep'))
    .option('--dry-run', 'count what would be deleted, and delete nothing')
    .option('--user <id>', 'only of this user')
    .addOption(new Option('--from <id>', 'begin with this user, where an earlier prune ended').conflicts('user'))
    .action(
      acting(async (context, options: Options) => {
        const rule = ruleOf(options);
        return options.dryRun ? await preview(context, rule, options) : await prune(context, rule, options);
      }),
    );
}

function ruleOf({ keep, olderThan, includeLatest = false }: Options): PruneRule {
  if (keep !== undefined) return { keepLatest: keep };
  if (olderThan !== undefined) return { olderThanDays: olderThan, includeLatest };
  throw new UsageError(
    'say what to delete: all but the newest, as in --keep 5, or what is old, as in --older-than 90d',
  );
}

async function preview(context: Context, rule: PruneRule, options: Options): Promise<ExitCode> {
  const tables = await context.tables();
  const progress = await adapterProgress(context, tables, options);
  const range = { ...rangeOf(options), signal: context.signal };
  const counted = await prunePreview(tables, rule, { ...range, onProgress: progress.at }).finally(progress.end);
  context.out.result({ dryRun: true, ...counted }, () => {
    const { rows, adapters } = counted;
    return `${plural(rows, 'version')} of ${plural(adapters, 'adapter')} would be deleted: ${bytes(counted.bytes)}`;
  });
  return EXIT.done;
}

async function prune(context: Context, rule: PruneRule, options: Options): Promise<ExitCode> {
  const storage = await context.storage();
  const progress = await adapterProgress(context, await context.tables(), options);
  let done: PruneProgress | undefined;
  const call = {
    ...rangeOf(options),
    signal: context.signal,
    onProgress(now: PruneProgress) {
      done = now;
      progress.at(now);
    },
  };
  try {
    await ('keepLatest' in rule
      ? storage.pruneVersions({ ...rule, ...call })
      : storage.pruneOlderThan({ ...rule, ...call }));
    progress.end();
    print(context, true, done);
    return EXIT.done;
  } catch (error) {
    progress.end();
    if (done !== undefined) print(context, false, done);
    throw error;
  }
}

/** What is done, also where the rest failed. */
function print(context: Context, complete: boolean, done: PruneProgress | undefined): void {
  const { adapters = 0, deleted = 0, userId } = done ?? {};
  const resume = complete ? {} : { from: userId };
  context.out.result({ complete, adapters, deleted, ...resume }, () => {
    const so = `${plural(deleted, 'version')} of ${plural(adapters, 'adapter')} deleted`;
    return complete ? so : `${so}, and not all: go on with --from ${userId}`;
  });
}

function rangeOf({ user, from }: Options) {
  return { ...(user === undefined ? {} : { userId: user }), ...(from === undefined ? {} : { fromUserId: from }) };
}

async function adapterProgress(context: Context, tables: Tables, { user, from }: Options) {
  // How many are behind --from, or of one user, nobody has counted.
  const about = user === undefined && from === undefined ? await adaptersAbout(tables) : 0;
  const shown = context.out.progress('adapters', about);
  return {
    at: ({ adapters }: { adapters: number }) => shown.at(adapters, about > 0 ? Math.max(about, adapters) : undefined),
    end: () => shown.end(),
  };
}
