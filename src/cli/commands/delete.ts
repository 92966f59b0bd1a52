/** `lora-store delete`: an adapter, or one version of it. */
import type { Command } from 'commander';
import { parseUserId } from '../../adapter/user-id.js';
import { AdapterNotFoundError } from '../../errors.js';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions, withRedis } from '../command.js';
import { type ConfirmOptions, confirmed, expectAnswer, withYes } from '../confirm.js';
import { EXIT } from '../exit.js';
import { plural, printable } from '../output.js';

type Options = CommonOptions & ConfirmOptions & { version?: number };

export function addDelete(program: Command): void {
  withYes(
    withRedis(
      addCommand(
        program,
        'delete',
        'delete all versions of an adapter, or one; every node stops serving it',
        'delete 3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f experimental --yes',
      ),
    ),
  )
    .argument('<user>', 'the id of the user')
    .argument('[name]', 'the adapter', 'default')
    .option('--version <n>', 'only this version; the newest that is left is the latest then', wholeNumber)
    .action(
      acting(async (context, options: Options, id: string, name: string) => {
        const { version } = options;
        const userId = parseUserId(id);
        expectAnswer(options);
        const storage = await context.storage();
        const what = `${version === undefined ? 'all versions' : `version ${version}`} of '${printable(name)}' of user ${userId}`;
        if (!(await confirmed(options, `Delete ${what}?`, context.signal))) {
          context.out.note('nothing was deleted');
          return EXIT.failed;
        }
        context.signal.throwIfAborted();
        const deleted =
          version === undefined
            ? await storage.deleteAdapter(userId, name)
            : Number(await storage.deleteAdapterVersion(userId, name, version));
        if (deleted === 0) throw new AdapterNotFoundError(userId, name, version);
        const which = { userId, adapterName: name, ...(version === undefined ? {} : { version }) };
        context.out.result({ ...which, deleted }, () => `${plural(deleted, 'version')} deleted`);
        return EXIT.done;
      }),
    );
}
