/** `lora-store forget`: a user, wherever anything of him is kept. */
import type { Command } from 'commander';
import { parseUserId } from '../../adapter/user-id.js';
import { acting, addCommand, type CommonOptions, withRedis } from '../command.js';
import { type ConfirmOptions, confirmed, expectAnswer, withYes } from '../confirm.js';
import { EXIT } from '../exit.js';
import { plural } from '../output.js';

export function addForget(program: Command): void {
  withYes(
    withRedis(
      addCommand(
        program,
        'forget',
        'erase all adapters of a user in Postgres, in Redis and in the memory of every node; the row in users stays',
        'forget 3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f --yes',
      ),
    ),
  )
    .argument('<user>', 'the id of the user')
    .action(
      acting(async (context, options: CommonOptions & ConfirmOptions, id: string) => {
        const userId = parseUserId(id);
        expectAnswer(options);
        const storage = await context.storage();
        if (!(await confirmed(options, `Erase every adapter of user ${userId}?`, context.signal))) {
          context.out.note('nothing was erased');
          return EXIT.failed;
        }
        context.signal.throwIfAborted();
        const deleted = await storage.forgetUser(userId);
        context.out.result({ userId, deleted }, () => `${plural(deleted, 'version')} erased`);
        return EXIT.done;
      }),
    );
}
