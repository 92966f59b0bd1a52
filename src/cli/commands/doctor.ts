/** `lora-store doctor`: what is wrong with the servers, the schema and the way to them, and how to mend it. */
import type { Command } from 'commander';
import { examine } from '../../operations/doctor/examine.js';
import type { Finding, Level } from '../../operations/doctor/finding.js';
import { acting, addCommand, type CommonOptions, withRedis } from '../command.js';
import { EXIT } from '../exit.js';
import { plural, table } from '../output.js';

interface Options extends CommonOptions {
  readonly strict?: boolean;
}

export function addDoctor(program: Command): void {
  withRedis(
    addCommand(
      program,
      'doctor',
      'check servers, schema, indexes, change feed, codec and latencies; exit code 1 where a check failed',
      'doctor --strict',
    ),
  )
    .option('--strict', 'exit code 1 for warnings, too')
    .action(
      acting(async (context, { strict = false }: Options) => {
        const patient = await context.patient();
        const bar = context.out.progress('checks', 0);
        const { signal } = context;
        const findings = await examine(patient, { signal, onProgress: (done, of) => bar.at(done, of) }).finally(() =>
          bar.end(),
        );
        const count = (level: Level) => findings.filter((finding) => finding.level === level).length;
        context.out.result(findings, () =>
          [
            table(
              ['', 'check', 'found'],
              findings.map(({ level, name, found }) => [level, name, found]),
            ),
            ...mends(findings),
            `${count('ok')} ok, ${plural(count('warning'), 'warning')}, ${plural(count('failure'), 'failure')}`,
          ].join('\n'),
        );
        return count('failure') > 0 || (strict && count('warning') > 0) ? EXIT.failed : EXIT.done;
      }),
    );
}

/** On lines of their own, to be pasted; what mends several is there once. */
function mends(findings: readonly Finding[]): string[] {
  const names = new Map<string, string[]>();
  for (const { name, mend } of findings) if (mend !== undefined) names.set(mend, [...(names.get(mend) ?? []), name]);
  return [...names].flatMap(([mend, of]) => ['', `${of.join(', ')}:`, `  ${mend}`]).concat('');
}
