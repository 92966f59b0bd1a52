/**
 * npm run sanitize: the native code under AddressSanitizer and UndefinedBehaviorSanitizer. Its unit tests, then test/adapter
 * on an addon that was built with them, then a while of each fuzz target. Ends with an error at the first finding.
 */
import { Command, InvalidArgumentError } from 'commander';
import { findClang } from '../support/clang.js';
import { adapterSuite } from './adapter-suite.js';
import { build, unitTests } from './build.js';
import { fuzz } from './fuzz.js';

export async function main(argv: readonly string[]): Promise<void> {
  const command = new Command('sanitize').description('everything under the sanitizers').enablePositionalOptions();
  command.option('--seconds <number>', 'of each fuzz target', positive, 60).action(async ({ seconds }) => {
    const clang = await findClang();
    const built = await build(clang);
    await unitTests(built);
    await adapterSuite(built, clang);
    await fuzz(built, [], { seconds });
  });
  command
    .command('fuzz [target...]')
    .description('only fuzz, all targets or those named')
    .option('--seconds <number>', 'of each', positive, 60)
    .option('--runs <number>', 'inputs of each, however long they take', positive)
    .action(async (targets: string[], { seconds, runs }) => {
      await fuzz(await build(await findClang()), targets, runs === undefined ? { seconds } : { runs });
    });
  try {
    await command.parseAsync([...argv]);
  } catch (error) {
    process.stderr.write(`${messages(error).reverse().join('\n')}\n`);
    process.exitCode = 1;
  }
}

/** Of an error and of what caused it. */
function messages(error: unknown): string[] {
  return error instanceof Error ? [error.message, ...messages(error.cause)] : [];
}

function positive(text: string): number {
  const value = Number(text);
  if (!(Number.isInteger(value) && value > 0)) throw new InvalidArgumentError('a whole number above 0.');
  return value;
}
