/** `lora-store list`: what a user has. */
import type { Command } from 'commander';
import { userVersions } from '../../operations/user-versions.js';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions } from '../command.js';
import { EXIT } from '../exit.js';
import { bytes, table } from '../output.js';

export function addList(program: Command): void {
  addCommand(
    program,
    'list',
    'list the versions of a user, newest first',
    'list 3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f --limit 20',
  )
    .argument('<user>', 'the id of the user')
    .option('--limit <n>', 'how many versions', wholeNumber, 100)
    .action(
      acting(async (context, { limit }: CommonOptions & { limit: number }, user: string) => {
        const listed = await userVersions(await context.tables(), user, limit);
        context.out.result(listed, () => {
          if (listed.count === 0) return `user ${listed.userId} has no adapters`;
          const head = ['adapter', 'version', 'latest', 'bytes', 'iterations', 'checksum', 'created', 'updated'];
          const rows = listed.versions.map((one) => [
            one.adapterName,
            one.version,
            one.latest ? 'latest' : '',
            bytes(one.sizeBytes),
            one.trainingIterations,
            one.checksum ? 'yes' : 'no',
            one.createdAt.toISOString(),
            one.updatedAt.toISOString(),
          ]);
          const more = listed.count - rows.length;
          return more > 0 ? `${table(head, rows)}\n${more} more: --limit ${listed.count}` : table(head, rows);
        });
        return EXIT.done;
      }),
    );
}
