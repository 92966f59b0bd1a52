/** `lora-store verify`: whether everything that is stored can be loaded, or what Redis holds is what Postgres says. */
import type { Command } from 'commander';
import { Audit, auditRedis } from '../../operations/audit-redis.js';
import { Verification, type VerifyOptions, verify } from '../../operations/verify.js';
import { share, userId, wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions, type Context } from '../command.js';
import { EXIT, type ExitCode } from '../exit.js';
import { table } from '../output.js';

interface Options extends CommonOptions {
  readonly user?: string;
  readonly limit: number;
  readonly sample?: number;
  readonly rate?: number;
}

export function addVerify(program: Command): void {
  addCommand(
    program,
    'verify',
    'read and check every row and head in Postgres, or with --redis compare what is cached; exit code 1 where something is bad',
    'verify --sample 0.01 --rate 500',
  )
    .option('--redis [url]', 'compare the entries in Redis (default: REDIS_URL) with Postgres instead')
    .option('--namespace <name>', 'what keys in Redis begin with (default: lora)')
    .option('--user <id>', 'of this user alone', userId)
    .option('--limit <n>', 'end after so many that are bad', wholeNumber, 10)
    .option('--sample <share>', 'look at this share of them, chosen at random', share)
    .option('--rate <n>', 'so many a second at most', wholeNumber)
    .action(
      acting(async (context, options: Options) =>
        options.redis === undefined ? await verifyTables(context, options) : await verifyRedis(context, options),
      ),
    );
}

async function verifyTables(context: Context, options: Options): Promise<ExitCode> {
  const tables = await context.tables();
  const found = new Verification();
  const bar = context.out.progress('rows', 0);
  try {
    await verify(tables, { ...settings(context, options), onProgress: (done, of) => bar.at(done, of) }, found);
  } finally {
    bar.end();
    // Also of a run that failed or was interrupted: what is bad is bad.
    context.out.result(found, () => {
      const rows = found.findings.map((one) => [one.userId, one.adapterName, one.version ?? '', one.reason]);
      const unsummed = found.withoutChecksum === 0 ? '' : `, ${found.withoutChecksum} of them without a checksum`;
      const seen = `${found.rows} rows${unsummed}, and ${found.heads} heads`;
      return report(['user', 'adapter', 'version', 'what is wrong'], rows, seen, found.complete);
    });
  }
  return found.findings.length === 0 ? EXIT.done : EXIT.failed;
}

async function verifyRedis(context: Context, options: Options): Promise<ExitCode> {
  const cache = await context.redis();
  const tables = await context.tables();
  const found = new Audit();
  const bar = context.out.progress('entries', 0);
  try {
    await auditRedis(cache, tables, { ...settings(context, options), onProgress: (done) => bar.at(done) }, found);
  } finally {
    bar.end();
    context.out.result(found, () => {
      const rows = found.findings.map(({ key, reason }) => [key, reason]);
      const { entries, same, behind, forgotten } = found;
      const seen = `${entries} entries: ${same} the same as in Postgres, ${behind} behind it, ${forgotten} of forgotten adapters`;
      return report(['key', 'what is wrong'], rows, seen, found.complete);
    });
  }
  return found.findings.length === 0 ? EXIT.done : EXIT.failed;
}

function settings(context: Context, { user, limit, sample, rate }: Options): VerifyOptions {
  return { userId: user, limit, sample, perSecond: rate, signal: context.signal };
}

function report(head: string[], rows: (string | number)[][], seen: string, complete: boolean): string {
  const checked = `${complete ? 'checked' : 'ended early, after'} ${seen}`;
  return rows.length === 0 ? `${checked}: nothing is bad` : `${table(head, rows)}\n${checked}: ${rows.length} bad`;
}
