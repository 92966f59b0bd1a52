/** `lora-store warm`: adapters into Redis before anybody asks for them. */
import type { Command } from 'commander';
import { hottest } from '../../operations/hottest.js';
import { openInput } from '../../operations/input.js';
import { keyLines } from '../../operations/key-lines.js';
import type { AdapterKey } from '../../storage/types.js';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions, type Context, withRedis } from '../command.js';
import { EXIT, UsageError } from '../exit.js';

interface Options extends CommonOptions {
  readonly hottest?: number;
  readonly rate: number;
}

/** Lines that are quoted; of more there is only the number. */
const MAX_NOTES = 10;

/** Which adapters were taken is kept in memory until the end, and a Set holds no more than 2^24. */
const MAX_HOTTEST = 10_000_000;

export function addWarm(program: Command): void {
  withRedis(
    addCommand(
      program,
      'warm',
      'load adapters into Redis: those saved last, or those that a file lists, a line each (userId [adapterName])',
      'warm --hottest 10000 --rate 500',
    ),
  )
    .argument('[file]', 'the list; - for standard input')
    .option('--hottest <n>', 'so many of those that were saved last', wholeNumber)
    .option('--rate <n>', 'so many a second at most', wholeNumber, 1000)
    .action(
      acting(async (context, options: Options, file: string | undefined) => {
        let [badLines, last] = [0, { loaded: 0, absent: 0, failed: 0 }];
        const keys = await source(context, options, file, (line, { message }) => {
          if (++badLines <= MAX_NOTES) context.out.note(`line ${line}: ${message}`);
        });
        // Asked before any adapter is: a storage would serve without its Redis, and say nothing.
        await context.redis();
        const storage = await context.storage({ redisTimeoutMs: 5000 });
        const bar = context.out.progress('adapters', options.hottest ?? 0);
        try {
          await storage.warm(keys, {
            signal: context.signal,
            perSecond: options.rate,
            onProgress: (sofar) => {
              last = sofar;
              bar.at(sofar.loaded + sofar.absent + sofar.failed);
            },
          });
        } finally {
          bar.end();
          // What was loaded goes to Redis behind the load's back: only then is it counted what Redis refused.
          await storage.close();
          const { errors } = storage.cacheStats().redis;
          context.out.result({ ...last, badLines, redisErrors: errors }, () => {
            const { loaded, absent, failed } = last;
            const lines = badLines === 0 ? '' : `, ${badLines} lines that name none`;
            const refused = errors === 0 ? '' : `; ${errors} calls of Redis failed, so that some are not there`;
            return `${loaded} loaded, ${absent} that do not exist, ${failed} with bad bytes${lines}${refused}`;
          });
          last = { ...last, failed: last.failed + badLines + errors };
        }
        return last.failed === 0 ? EXIT.done : EXIT.failed;
      }),
    );
}

async function source(
  context: Context,
  { hottest: count }: Options,
  file: string | undefined,
  onBadLine: (line: number, error: Error) => void,
): Promise<AsyncIterable<AdapterKey>> {
  if ((file === undefined) === (count === undefined)) {
    throw new UsageError('which adapters: name a file, - for standard input, or --hottest <n>, and only one of them');
  }
  if (count !== undefined && count > MAX_HOTTEST) {
    throw new UsageError(`--hottest is ${MAX_HOTTEST} at most: for more, list them in a file, or pipe them in as -`);
  }
  if (count !== undefined) return hottest(await context.tables(), count);
  const { signal } = context;
  return keyLines(await openInput(file as string, signal), { signal, onBadLine });
}
