/** A run in words and columns: how it was started, its settings, the calls, and every constant. */
import { caseText, environmentText } from '../harness/print.js';
import { constantNames, figureOf, wordsOf } from './constants.js';
import type { ScaleResults } from './results.js';

export function scaleText({ command, environment, settings, loads, constants, users, full }: ScaleResults): string {
  const named = Object.entries(settings).map(([name, value]) => `${name} ${value}`);
  return [
    `\n${command}`,
    environmentText(environment),
    `postgres settings: ${named.join(', ')}; autovacuum is off for the adapters and heads of full size, and on elsewhere`,
    `${users.toLocaleString('en-US')} users with rank 1, ${full.toLocaleString('en-US')} of full size`,
    caseText(loads),
    '',
    ...constantNames.map((name) => {
      const value = constants[name];
      return `${wordsOf(name)}: ${value === undefined ? 'not measured here' : figureOf(name, value)}`;
    }),
  ].join('\n');
}
