/** `lora-store top`: who takes most room. */
import type { Command } from 'commander';
import { topUsers } from '../../operations/top-users.js';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions } from '../command.js';
import { EXIT } from '../exit.js';
import { bytes, table } from '../output.js';

export function addTop(program: Command): void {
  addCommand(program, 'top', 'list the users with most versions', 'top --limit 20')
    .option('--limit <n>', 'how many users', wholeNumber, 10)
    .action(
      acting(async (context, { limit }: CommonOptions & { limit: number }) => {
        const users = await topUsers(await context.tables(), limit);
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
