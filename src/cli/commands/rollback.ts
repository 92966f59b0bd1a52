/** `lora-store rollback`: an old version as the newest again. */
import type { Command } from 'commander';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions, withRedis } from '../command.js';
import { EXIT } from '../exit.js';

export function addRollback(program: Command): void {
  withRedis(
    addCommand(
      program,
      'rollback',
      'append an old version again, which makes it the latest; no version is lost',
      'rollback 3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f default 1',
    ),
  )
    .argument('<user>', 'the id of the user')
    .argument('<name>', 'the adapter')
    .argument('<version>', 'the version to bring back', wholeNumber)
    .action(
      acting(async (context, _: CommonOptions, user: string, name: string, toVersion: number) => {
        const storage = await context.storage();
        // A copy of damaged bytes would be the latest, and every load would fail.
        const { userId } = await storage.loadAdapterVersion(user, name, toVersion);
        context.signal.throwIfAborted();
        const version = await storage.rollbackAdapter(user, name, toVersion);
        context.out.result(
          { userId, adapterName: name, toVersion, version },
          () => `version ${toVersion} is the latest again, as version ${version}`,
        );
        return EXIT.done;
      }),
    );
}
