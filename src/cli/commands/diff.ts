/** `lora-store diff`: how far the weights moved between two versions. */
import type { Command } from 'commander';
import { type Change, movement } from '../../operations/movement.js';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions } from '../command.js';
import { EXIT } from '../exit.js';
import { printable, short, table } from '../output.js';

type Options = CommonOptions & { largest: number };

export function addDiff(program: Command): void {
  addCommand(
    program,
    'diff',
    'tell how far the weights of an adapter moved from one version to another',
    'diff 3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f default 1 2',
  )
    .argument('<user>', 'the id of the user')
    .argument('<name>', 'the adapter')
    .argument('<from>', 'a version', wholeNumber)
    .argument('<to>', 'another', wholeNumber)
    .option('--largest <n>', 'how many of the weights that changed most to list', wholeNumber, 5)
    .action(
      acting(async (context, { largest }: Options, user: string, name: string, from: number, to: number) => {
        const storage = await context.storage({ redis: false });
        const before = await storage.loadAdapterVersion(user, name, from);
        const after = await storage.loadAdapterVersion(user, name, to);
        const moved = movement(before, after, largest);
        const trainingIterations = after.trainingIterations - before.trainingIterations;
        const which = { userId: after.userId, adapterName: name, from, to };
        context.out.result({ ...which, trainingIterations, ...moved }, () => {
          const head = ['matrix', 'norm before', 'norm after', 'moved', 'relative', 'cosine'];
          const title = `'${printable(name)}' of user ${after.userId}, version ${from} to ${to}`;
          const rows = [row('A', moved.A), row('B', moved.B), row('s·B·A', moved.product)];
          const lines = [`${title}: ${trainingIterations} training iterations`, '', table(head, rows)];
          if (moved.A === null || moved.B === null)
            lines.push('', 'the shape changed: there is nothing to compare weight by weight');
          if (moved.largest.length > 0) {
            const weights = moved.largest.map((one) => [
              one.layer,
              one.row,
              one.column,
              short(one.before),
              short(one.after),
              short(one.after - one.before),
            ]);
            lines.push('', table(['matrix', 'row', 'column', 'before', 'after', 'change'], weights));
          }
          return lines.join('\n');
        });
        return EXIT.done;
      }),
    );
}

function row(name: string, change: Change | null): (string | number)[] {
  if (change === null) return [name, '-', '-', '-', '-', '-'];
  const { before, after, moved, relative, cosine } = change;
  const share = relative === null ? '-' : `${short(100 * relative)} %`;
  return [name, short(before), short(after), short(moved), share, cosine === null ? '-' : Number(cosine.toFixed(6))];
}
