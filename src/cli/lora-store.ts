#!/usr/bin/env node
/** The command line: argv in, words out. One file a command in commands/; what an exit code means is in exit.ts. */
import { Command, CommanderError } from 'commander';
import { addArchive } from './commands/archive.js';
import { addDelete } from './commands/delete.js';
import { addDiff } from './commands/diff.js';
import { addDoctor } from './commands/doctor.js';
import { addExport } from './commands/export.js';
import { addForget } from './commands/forget.js';
import { addImport } from './commands/import.js';
import { addList } from './commands/list.js';
import { addMigrate } from './commands/migrate.js';
import { addPartition } from './commands/partition.js';
import { addPrune } from './commands/prune.js';
import { addRollback } from './commands/rollback.js';
import { addShow } from './commands/show.js';
import { addStats } from './commands/stats.js';
import { addTop } from './commands/top.js';
import { addVerify } from './commands/verify.js';
import { addWarm } from './commands/warm.js';
import { exitCodeOf } from './exit.js';
import { Output } from './output.js';
import { expectLosses } from './streams.js';

const EXIT_CODES = `
Exit codes: 0 done; 1 it failed, or found what is wrong; 2 the command line makes no sense; 3 a server is out of reach or its
schema out of date; 130 interrupted. Errors go to stderr.`;

expectLosses();
// Looked for by hand: what cannot be parsed is told in JSON, too.
const out = new Output({ json: process.argv.includes('--json') });

const program = new Command('lora-store')
  .description('Storage for per-user LoRA adapters.')
  .addHelpText('after', EXIT_CODES)
  .configureOutput({ writeOut: (text) => out.print(text), outputError: (text) => out.refusal(text) })
  .exitOverride();

addMigrate(program);
addStats(program);
addTop(program);
addList(program);
addShow(program);
addDiff(program);
addRollback(program);
addDelete(program);
addPrune(program);
addForget(program);
addExport(program);
addImport(program);
addArchive(program);
addVerify(program);
addWarm(program);
addPartition(program);
addDoctor(program);

try {
  await program.parseAsync();
} catch (error) {
  // Commander has printed what is wrong, or the help.
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = exitCodeOf(error);
}
try {
  await out.settled();
} catch (error) {
  out.error(error);
  process.exitCode = exitCodeOf(error);
}
