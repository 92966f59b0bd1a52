/** `lora-store migrate`: the schema, up, down, or as it stands. */
import { Argument, type Command } from 'commander';
import { type MigrateOptions, migrate } from '../../postgres/migrate.js';
import { migrationStatus } from '../../postgres/migration-status.js';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions } from '../command.js';
import { type ConfirmOptions, confirmed, expectAnswer, withYes } from '../confirm.js';
import { byOptions, EXIT } from '../exit.js';
import { plural, table } from '../output.js';

type Options = CommonOptions & ConfirmOptions & Pick<MigrateOptions, 'count'>;

const DIRECTION = new Argument(
  '<direction>',
  'up: apply all that are not yet; down: revert the newest; status: list them, exit code 1 where some are missing',
).choices(['up', 'down', 'status']);

export function addMigrate(program: Command): void {
  withYes(
    addCommand(
      program,
      'migrate',
      'create the tables, indexes and triggers in Postgres, or take them away',
      'migrate up',
    ),
  )
    .addArgument(DIRECTION)
    .option('--count <n>', 'how many migrations at most', wholeNumber)
    .action(
      acting(async (context, options: Options, direction: 'up' | 'down' | 'status') => {
        const { count } = options;
        const source = { postgres: context.postgres };
        if (direction === 'status') {
          const { migrations, recorded, problem } = await byOptions(() => migrationStatus(source));
          context.out.result(
            { migrations, ...(recorded ? {} : { recorded }), ...(problem === undefined ? {} : { problem }) },
            () => {
              const unrecorded = problem === undefined ? 'in place, not recorded' : 'not applied';
              const rows = migrations.map(({ name, appliedAt }) => [
                name,
                appliedAt?.toISOString() ?? (recorded ? unrecorded : 'not readable'),
              ]);
              return [table(['migration', 'applied'], rows), problem ?? 'the schema is that of this version'].join(
                '\n',
              );
            },
          );
          return problem === undefined ? EXIT.done : EXIT.failed;
        }
        if (direction === 'down') {
          expectAnswer(options);
          const what = count === undefined ? 'the newest migration' : `the newest ${plural(count, 'migration')}`;
          const question = `Take away ${what}, with all that is in what they made?`;
          if (!(await confirmed(options, question, context.signal))) {
            context.out.note('nothing was taken away');
            return EXIT.failed;
          }
        }
        const how = { ...source, direction, ...(count === undefined ? {} : { count }) };
        const ran = await byOptions(() => migrate(how));
        const nothing = direction === 'up' ? 'nothing to apply' : 'nothing to take away';
        context.out.result({ direction, ran }, () => ran.map((name) => `${direction} ${name}`).join('\n') || nothing);
        return EXIT.done;
      }),
    );
}
