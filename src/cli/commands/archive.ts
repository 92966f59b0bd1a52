/** `lora-store archive`: adapters of users who are gone, out of the database into a file. */
import { type Command, InvalidArgumentError } from 'commander';
import { archiveInactive } from '../../operations/archive.js';
import { sourceOf } from '../../operations/source-database.js';
import { TarTarget } from '../../operations/tar-target.js';
import { isTar } from '../../operations/targets.js';
import { acting, addCommand, type CommonOptions, type Context } from '../command.js';
import { EXIT, type ExitCode, UsageError } from '../exit.js';

interface Options extends CommonOptions {
  /** Seconds. */
  readonly inactive: number;
}

export function addArchive(program: Command): void {
  addCommand(
    program,
    'archive',
    'move adapters of inactive users into an archive',
    'archive --inactive 180d gone.tar.gz',
  )
    .argument('<file>', 'a .tar.gz, .tgz or .tar that is not there yet')
    .requiredOption('--inactive <age>', 'users none of whose adapters was saved for so long: 180d, 12h', seconds)
    .action(acting((context, options: Options, file: string) => archive(context, options, file)));
}

async function archive(context: Context, { inactive }: Options, file: string): Promise<ExitCode> {
  if (!isTar(file)) throw new UsageError(`an archive is a .tar.gz, .tgz or .tar, not ${file}`);
  const tables = await context.tables();
  const target = await TarTarget.open(file, { command: 'archive', source: await sourceOf(tables) });
  const progress = context.out.progress('versions', 0);
  try {
    const report = {
      progress: (versions: number) => progress.at(versions),
      fault: (userId: string, error: Error) => context.out.note(`user ${userId} stays: ${error.message}`),
      returned: (userId: string) =>
        context.out.note(
          `user ${userId} was saved to or deleted from meanwhile, and is left alone: ${file} holds what was read before`,
        ),
    };
    const archived = await archiveInactive(tables, inactive, target, report, context.signal);
    const { versions } = target;
    if (versions > 0) await target.finish();
    else await target.discard();
    context.out.result({ target: versions > 0 ? file : null, versions, ...archived }, () =>
      versions === 0 ? 'no user is inactive' : words(file, archived.users, archived.returned + archived.faulty),
    );
    return archived.faulty > 0 ? EXIT.failed : EXIT.done;
  } catch (error) {
    context.out.note(`${file}.partial may hold what the database holds no more: the same command goes on from there`);
    throw error;
  } finally {
    progress.end();
    await target.close();
  }
}

function words(file: string, users: number, leftAlone: number): string {
  const kept = leftAlone > 0 ? `, ${leftAlone} left alone` : '';
  return `${users} users moved${kept}; 'lora-store import ${file}' brings them back, with --user one of them`;
}

const UNITS = { d: 86_400, h: 3600 };

function seconds(text: string): number {
  const [, count, unit] = /^(\d{1,6})([dh])$/.exec(text) ?? [];
  if (count === undefined) throw new InvalidArgumentError('It must be a number of days or hours, such as 180d.');
  return Number(count) * UNITS[unit as keyof typeof UNITS];
}
