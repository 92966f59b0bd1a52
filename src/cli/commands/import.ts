/** `lora-store import`: adapters out of an archive, a directory or a stream. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { adapterFromRecord } from '../../adapter/adapter.js';
import { parseAdapterName, parseUserId } from '../../adapter/user-id.js';
import { UserNotFoundError } from '../../errors.js';
import { type Fate, importVersions } from '../../operations/import.js';
import { isSafetensors, readPeft } from '../../operations/peft.js';
import { type ArchiveSelection, versionsOf } from '../../operations/reading-archive.js';
import { filesOf } from '../../operations/sources.js';
import { checkedRecord, pathOf, type StoredVersion } from '../../operations/version-file.js';
import { moduleName } from '../arguments.js';
import { acting, addCommand, type CommonOptions, type Context, withRedis } from '../command.js';
import { EXIT, type ExitCode, UsageError } from '../exit.js';
import { plural, printable } from '../output.js';

export interface Options extends CommonOptions {
  readonly user?: string;
  readonly name?: string;
  readonly append?: boolean;
  readonly createUsers?: boolean;
  readonly module?: string;
}

/** With --json; on stderr all of them are told. */
const PROBLEMS_LISTED = 100;

export function addImport(program: Command): void {
  withRedis(addCommand(program, 'import', 'read adapters from what export or archive wrote', 'import adapters.tar.gz'))
    .argument('<source>', 'a tar, compressed or not, a directory, - for a tar on stdin, or a .safetensors')
    .option('--user <uuid>', 'of this user only')
    .option('--name <name>', 'adapters of this name only')
    .option('--append', 'save each as a new version, whatever is there')
    .option('--create-users', 'insert users that have no row')
    .option('--module <name>', 'of a .safetensors with several modules: which one', moduleName)
    .action(
      acting((context, options: Options, source: string) =>
        isSafetensors(source) ? importPeft(context, options, source) : importArchive(context, options, source),
      ),
    );
}

async function importArchive(context: Context, options: Options, source: string): Promise<ExitCode> {
  if (options.module !== undefined) throw new UsageError('--module goes with a .safetensors file');
  const selection = selectionOf(options);
  const counts = { imported: 0, unchanged: 0, problems: 0 };
  const firstProblems: string[] = [];
  const progress = context.out.progress('versions', 0);
  const problem = (sentence: string) => {
    counts.problems++;
    if (firstProblems.length < PROBLEMS_LISTED) firstProblems.push(sentence);
    context.out.note(`problem: ${sentence}`);
  };
  const fated = (version: StoredVersion, fate: Fate) => {
    if (fate === 'imported' || fate === 'unchanged') counts[fate]++;
    else if (fate !== 'replaced') problem(`${pathOf(version)}: ${REASONS[fate]}`);
    progress.at(counts.imported + counts.unchanged);
  };
  const begin = options.append ? await appending(context, options) : await inserting(context, options);
  if (source !== '-') expectThere(source);
  try {
    const files = filesOf(source, context.signal);
    await begin(versionsOf(files, selection, problem, context.signal), fated);
  } catch (error) {
    context.out.note(
      `imported so far: ${plural(counts.imported, 'version')}${options.append ? '' : ': the same command goes on from there'}`,
    );
    throw error;
  } finally {
    progress.end();
  }
  context.out.result({ ...counts, firstProblems }, () =>
    [
      `${plural(counts.imported, 'version')} imported`,
      `${counts.unchanged} there already`,
      plural(counts.problems, 'problem'),
    ].join(', '),
  );
  return counts.problems > 0 ? EXIT.failed : EXIT.done;
}

function expectThere(path: string): void {
  if (!existsSync(path)) throw new UsageError(`there is no file or directory '${path}'`);
}

const REASONS: Record<Exclude<Fate, 'imported' | 'unchanged' | 'replaced'>, string> = {
  conflict: 'that version is there with other bytes; it is left alone (--append saves this one as a new version)',
  'no user': 'the user has no row in table users: insert it, or use --create-users',
};

type Import = (
  versions: AsyncIterable<StoredVersion>,
  fated: (version: StoredVersion, fate: Fate) => void,
) => Promise<void>;

async function inserting(context: Context, { createUsers = false }: Options): Promise<Import> {
  const tables = await context.tables();
  return (versions, fated) => importVersions(tables, versions, { createUsers }, fated, context.signal);
}

/** By ordinary saves: the last one is the latest, so an old version must not come behind a newer one. */
async function appending(context: Context, { createUsers = false }: Options): Promise<Import> {
  const storage = await context.storage({ createMissingUsers: createUsers });
  return async (versions, fated) => {
    let before: StoredVersion | undefined;
    for await (const version of versions) {
      context.signal.throwIfAborted();
      expectOrder(before, version);
      before = version;
      const record = checkedRecord(version, pathOf(version));
      try {
        await storage.saveAdapter(adapterFromRecord(record, Date.parse(version.updatedAt)), version.adapterName);
        fated(version, 'imported');
      } catch (error) {
        if (!(error instanceof UserNotFoundError)) throw error;
        fated(version, 'no user');
      }
    }
    context.signal.throwIfAborted();
  };
}

function expectOrder(before: StoredVersion | undefined, version: StoredVersion): void {
  if (before === undefined || version.version >= before.version) return;
  if (version.userId !== before.userId || version.adapterName !== before.adapterName) return;
  throw new Error(
    `${pathOf(version)} comes behind version ${before.version}, and --append makes the latest of what comes last: unpack the ` +
      'archive with tar -x and import that directory, which is read in the order of the versions',
  );
}

/** One adapter that PEFT saved, as a new version. */
async function importPeft(context: Context, options: Options, path: string): Promise<ExitCode> {
  const { user, name = 'default', module, createUsers = false } = options;
  if (user === undefined) throw new UsageError('a .safetensors file does not say whose it is: use --user');
  const storage = await context.storage({ createMissingUsers: createUsers });
  expectThere(path);
  const adapter = await readPeft(path, user, module);
  const version = await storage.saveAdapter(adapter, name);
  const { userId, rank, inputDim, outputDim } = adapter;
  context.out.result({ userId, adapterName: name, version }, () =>
    [`version ${version} of '${printable(name)}' of user ${userId}`, `rank ${rank}, ${inputDim} → ${outputDim}`].join(
      ': ',
    ),
  );
  return EXIT.done;
}

function selectionOf({ user, name }: Options): ArchiveSelection {
  return {
    ...(user !== undefined && { userId: parseUserId(user) }),
    ...(name !== undefined && { adapterName: parseAdapterName(name) }),
  };
}
