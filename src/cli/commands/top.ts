/** `lora-store top`: who has most versions, or takes most room. */
import { type Command, Option } from 'commander';
import { topUsers } from '../../operations/top-users.js';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions } from '../command.js';
import { EXIT } from '../exit.js';
import { bytes, table } from '../output.js';

interface Options extends CommonOptions {
  readonly limit: number;
  readonly by: 'versions' | 'bytes';
}

export function addTop(program: Command): void {
  addCommand(program, 'top', 'list the users with most versions, or bytes', 'top --by bytes --limit 20')
    .option('--limit <n>', 'how many users', wholeNumber, 10)
    .addOption(new Option('--by <what>', 'most of what').choices(['versions', 'bytes']).default('versions'))
    .action(
      acting(async (context, { limit, by }: Options) => {
        const users = await topUsers(await context.tables(), limit, by);
        context.out.result(users, () => {
          const head = ['user', 'versions', 'adapters', 'bytes', 'last saved'];
          const rows = users.map((user) => [
            user.userId,
            user.versions,
            user.adapters,
            bytes(user.totalBytes),
            user.updatedAt.toISOString(),
          ]);
          return table(head, rows);
        });
        return EXIT.done;
      }),
    );
}
