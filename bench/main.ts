/**
 * npm run bench -- [--quick] [--check] [--out file] [case...]: what each tier costs, against what a user would pick instead. Prints a
 * table for each case and the table of targets, and writes bench/results/<date>.json with its page. Exits with 1 when a case failed and,
 * with --check, when a target is short or there is none.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Argument, Command } from 'commander';
import { root } from '../test/support/root.js';
import { entries } from './cases.js';
import { explained } from './explanations.js';
import type { Finding } from './harness/bench.js';
import { environment } from './harness/environment.js';
import { caseText, environmentText, targetsText } from './harness/print.js';
import { type Progress, progressOver } from './harness/progress.js';
import type { Results } from './harness/results.js';
import type { Message } from './harness/run-case.js';
import { renderReport } from './report/report.js';

/**
 * The collector runs between slices and not by chance in somebody's; without the second flag it throws away the bytecode
 * of sides that waited for their turn.
 */
const NODE_OPTIONS = ['--expose-gc', '--no-flush-bytecode'];

const program = new Command('npm run bench --')
  .addArgument(new Argument('[case...]', 'which ones; all when none is named').choices(entries.map(({ name }) => name)))
  .option('--quick', 'a look, in two minutes')
  .option('--check', 'exit with 1 when a target is short')
  .option('--out <file>', 'where to write what was found; default: bench/results/<date>.json')
  .parse();
const { quick = false, check = false, out } = program.opts<{ quick?: boolean; check?: boolean; out?: string }>();
const chosen = entries.filter(({ name }) => program.args.length === 0 || program.args.includes(name));

const failures: Error[] = [];
const results = await measure();
print(results);
const path = out ?? join(root, 'bench/results', `${results.date.replaceAll(':', '-')}.json`);
mkdirSync(dirname(path), { recursive: true });
writeFileSync(path, `${JSON.stringify(results)}\n`);
const page = `${path.replace(/\.json$/, '')}.html`;
writeFileSync(page, renderReport(results));
process.stdout.write(`\n${path}\n${page}\n`);
const met = results.targets.length > 0 && results.targets.every((target) => target.met !== false);
for (const { message } of failures) process.stderr.write(`${message}\n`);
if (failures.length > 0 || (check && !met)) process.exitCode = 1;

async function measure(): Promise<Results> {
  const began = new Date();
  const here = environment();
  const progress = progressOver(
    chosen.map(({ seconds, quickSeconds }) => (quick ? quickSeconds : seconds)),
    process.stderr,
  );
  const findings: Finding[] = [];
  try {
    for (const { name } of chosen) {
      progress.start(name);
      const began = performance.now();
      // The others may still find something, and what they find is kept.
      const finding = await findingOf(name, progress).catch((error: Error) => error);
      progress.done(name, (performance.now() - began) / 1000);
      if (finding instanceof Error) failures.push(finding);
      else findings.push(finding);
    }
  } finally {
    progress.stop();
  }
  return {
    format: 1,
    date: began.toISOString(),
    quick,
    seconds: (Date.now() - began.getTime()) / 1000,
    environment: {
      ...here,
      servers: Object.assign({}, ...findings.map(({ servers }) => servers)),
      versions: Object.assign({}, here.versions, ...findings.map(({ versions }) => versions)),
    },
    cases: findings.map(({ result }) => result),
    targets: findings.flatMap(({ targets }) => targets).map(explained),
  };
}

async function findingOf(name: string, progress: Progress): Promise<Finding> {
  const script = fileURLToPath(new URL('harness/run-case.js', import.meta.url));
  const child = fork(script, [name, quick ? 'quick' : 'full'], { execArgv: NODE_OPTIONS });
  let finding: Finding | undefined;
  child.on('message', (message: Message) => {
    if ('doing' in message) progress.doing(message.doing);
    else finding = message.finding;
  });
  const [code, signal] = await once(child, 'exit');
  if (finding === undefined || code !== 0)
    throw new Error(`the case ${name} failed (${signal ?? `exit code ${code}`})`);
  return finding;
}

function print({ environment: where, cases, targets }: Results): void {
  const text = [environmentText(where), ...cases.map(caseText), targetsText(targets)].join('\n');
  process.stdout.write(`${text}\n`);
}
