#!/usr/bin/env node
/** The command line: argv in, words out, exit code 1 and one sentence where something fails. */
import { Argument, Command, InvalidArgumentError } from 'commander';
import { type MigrateOptions, migrate } from '../postgres/migrate.js';

const program = new Command('lora-store').description('Storage for per-user LoRA adapters.');

program
  .command('migrate')
  .description('create the tables, indexes and triggers in Postgres (up), or take them away (down)')
  .addArgument(
    new Argument('<direction>', 'up: all that are not applied yet; down: the newest').choices(['up', 'down']),
  )
  .option('--postgres <url>', 'the database (default: DATABASE_URL)')
  .option('--count <n>', 'how many migrations at most', wholeNumber)
  .action(async (direction: 'up' | 'down', options: Pick<MigrateOptions, 'postgres' | 'count'>) => {
    const names = await migrate({ direction, ...options });
    for (const name of names) console.log(`${direction} ${name}`);
    if (names.length === 0) console.log(direction === 'up' ? 'nothing to apply' : 'nothing to take away');
  });

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

try {
  await program.parseAsync();
} catch (error) {
  console.error(`lora-store: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
