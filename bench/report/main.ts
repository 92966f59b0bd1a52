/**
 * npm run bench:report -- <results.json>: writes the page of a run beside it, as npm run bench does for its own.
 * npm run bench:tables: rewrites the tables of the project's pages from bench/results/reference.json and scale.json.
 */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { scalePage } from '../scale/tables.js';
import { pagesWithTables, readReference, readResults } from './pages.js';
import { renderReport } from './report.js';

const program = new Command('bench-report');

program
  .command('page')
  .argument('<results.json>')
  .action((path: string) => {
    const page = `${path.replace(/\.json$/, '')}.html`;
    writeFileSync(page, renderReport(readResults(path)));
    process.stdout.write(`${page}\n`);
  });

program.command('tables').action(() => {
  const root = process.cwd();
  for (const { path, text, expected } of [...pagesWithTables(root, readReference(root)), scalePage(root)]) {
    if (text !== expected) writeFileSync(path, expected);
    process.stdout.write(`${path}: ${text === expected ? 'as it was' : 'rewritten'}\n`);
  }
});

program.parse();
