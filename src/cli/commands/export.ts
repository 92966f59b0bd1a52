/** `lora-store export`: adapters into an archive, a directory or a stream. */
import type { Command } from 'commander';
import { parseAdapterName, parseUserId } from '../../adapter/user-id.js';
import { exportVersions } from '../../operations/export.js';
import type { Selection } from '../../operations/pages.js';
import { configBeside, isSafetensors, writePeft } from '../../operations/peft.js';
import { sourceOf } from '../../operations/source-database.js';
import { StreamTarget } from '../../operations/stream-target.js';
import { openTarget, placeOf } from '../../operations/targets.js';
import { moduleName, wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions, type Context } from '../command.js';
import { EXIT, type ExitCode, UsageError } from '../exit.js';
import { toStdout } from '../streams.js';

export interface Options extends CommonOptions {
  readonly user?: string;
  readonly name?: string;
  readonly latest?: boolean;
  readonly version?: number;
  readonly module?: string;
}

export function addExport(program: Command): void {
  addCommand(program, 'export', 'write adapters into an archive that import reads', 'export adapters.tar.gz')
    .argument('<target>', 'a .tar, .tar.gz or .tgz, a directory, - for a tar on stdout, or a .safetensors')
    .option('--user <uuid>', 'of this user only')
    .option('--name <name>', 'adapters of this name only')
    .option('--latest', 'the latest version of each adapter only')
    .option('--version <n>', 'into a .safetensors: this version (default: the latest)', wholeNumber)
    .option('--module <name>', "into a .safetensors: the module's name in the model", moduleName)
    .action(
      acting((context, options: Options, target: string) =>
        isSafetensors(target) ? exportPeft(context, options, target) : exportArchive(context, options, target),
      ),
    );
}

async function exportArchive(context: Context, options: Options, path: string): Promise<ExitCode> {
  if (options.module !== undefined || options.version !== undefined) {
    throw new UsageError('--module and --version go with a .safetensors file');
  }
  if (path === '') throw new UsageError('name a target: an archive, a directory, or - for stdout');
  const selection = selectionOf(options);
  const tables = await context.tables();
  const piped = path === '-';
  const target = piped
    ? new StreamTarget(toStdout)
    : await openTarget(path, { command: 'export', ...selection, source: await sourceOf(tables) });
  const progress = context.out.progress('versions', 0);
  try {
    const report = {
      progress: (versions: number) => progress.at(versions),
      fault: (error: Error) => context.out.note(`left out: ${error.message}`),
    };
    await exportVersions(tables, selection, target, report, context.signal);
  } catch (error) {
    if (!piped)
      context.out.note(
        `${target.versions} versions are in ${placeOf(path)}.partial: the same command goes on from there`,
      );
    throw error;
  } finally {
    progress.end();
    await target.close();
  }
  const { versions, leftOut } = target;
  const words = `${versions} versions exported${leftOut > 0 ? `, ${leftOut} left out` : ''}`;
  if (piped) context.out.note(words);
  else context.out.result({ target: path, versions, leftOut }, () => words);
  return leftOut > 0 ? EXIT.failed : EXIT.done;
}

/** One adapter, as Hugging Face PEFT reads it. */
async function exportPeft(context: Context, options: Options, path: string): Promise<ExitCode> {
  const { user, name = 'default', version, module } = options;
  if (user === undefined || module === undefined || options.latest) {
    throw new UsageError(
      'a .safetensors file holds one adapter: name it with --user and --name, and its place with --module',
    );
  }
  const storage = await context.storage({ redis: false });
  const adapter =
    version === undefined
      ? await storage.loadAdapter(user, name, { exact: true })
      : await storage.loadAdapterVersion(user, name, version);
  await writePeft(path, adapter, module);
  const config = configBeside(path);
  context.out.result({ target: path, config }, () => `1 adapter exported, its settings to ${config}`);
  return EXIT.done;
}

function selectionOf({ user, name, latest }: Options): Selection {
  return {
    ...(user !== undefined && { userId: parseUserId(user) }),
    ...(name !== undefined && { adapterName: parseAdapterName(name) }),
    ...(latest && { latestOnly: true }),
  };
}
