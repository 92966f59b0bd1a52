/** `lora-store show`: one version, as it lies in Postgres. */
import type { Command } from 'commander';
import { adapterFromRecord } from '../../adapter/adapter.js';
import { productNorm } from '../../operations/movement.js';
import { type StoredVersion, storedVersion } from '../../operations/stored-version.js';
import { summarize, type WeightSummary } from '../../operations/weight-summary.js';
import { wholeNumber } from '../arguments.js';
import { acting, addCommand, type CommonOptions } from '../command.js';
import { EXIT } from '../exit.js';
import { bytes, printable, short, table } from '../output.js';

type Options = CommonOptions & { version?: number };

/** Characters of the longest bar. */
const BAR = 40;

export function addShow(program: Command): void {
  addCommand(
    program,
    'show',
    'show shape, norms, checksum and the distribution of the weights of a version; exit code 1 where it is damaged',
    'show 3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5f default --version 1',
  )
    .argument('<user>', 'the id of the user')
    .argument('[name]', 'the adapter', 'default')
    .option('--version <n>', 'which version (default: the latest)', wholeNumber)
    .action(
      acting(async (context, { version }: Options, user: string, name: string) => {
        const { record, ...stored } = await storedVersion(await context.tables(), user, name, version);
        const weights = record && weightsOf(record);
        context.out.result({ ...stored, ...weights }, () => text(stored, weights));
        return stored.fault === undefined ? EXIT.done : EXIT.failed;
      }),
    );
}

type Weights = ReturnType<typeof weightsOf>;

function weightsOf(record: NonNullable<StoredVersion['record']>) {
  const adapter = adapterFromRecord(record, 0);
  const { rank, inputDim, outputDim, scalingFactor, trainingIterations } = adapter;
  return {
    ...{ rank, inputDim, outputDim, scalingFactor, trainingIterations },
    A: summarize(adapter.baseLayerWeights),
    B: summarize(adapter.userLayerWeights),
    productNorm: productNorm(adapter),
  };
}

function text(stored: StoredVersion, weights: Weights | undefined): string {
  const { userId, adapterName, version, latestVersion, revision, checksum, fault } = stored;
  const latest = version === latestVersion ? 'the latest' : `the latest is ${latestVersion || 'none'}`;
  const lines = [
    `'${printable(adapterName)}' version ${version} of user ${userId} (${latest}, revision ${revision})`,
    `${bytes(stored.sizeBytes)}, created ${stored.createdAt.toISOString()}, updated ${stored.updatedAt.toISOString()}`,
    `checksum: ${checksum}`,
  ];
  if (fault !== undefined) lines.push(`damaged: ${fault}`);
  if (weights === undefined) return lines.join('\n');
  const { rank, inputDim, outputDim, scalingFactor, trainingIterations, A, B } = weights;
  lines.push(
    `rank ${rank}, ${inputDim} inputs, ${outputDim} outputs, scaling ${scalingFactor}, ${trainingIterations} training iterations`,
    '',
    table(
      ['matrix', 'shape', 'norm', 'min', 'max', 'mean', 'deviation', 'zeros'],
      [row('A', A), row('B', B), ['s·B·A', `${outputDim} × ${inputDim}`, short(weights.productNorm)]],
    ),
    ...['A', 'B'].flatMap((layer, i) => ['', `weights of ${layer}`, histogram(i === 0 ? A : B)]),
  );
  return lines.join('\n');
}

function row(
  layer: string,
  { rows, cols, norm, min, max, mean, deviation, zeros }: WeightSummary,
): (string | number)[] {
  return [layer, `${rows} × ${cols}`, ...[norm, min, max, mean, deviation].map(short), zeros];
}

function histogram({ histogram: bins }: WeightSummary): string {
  const most = Math.max(...bins.map(({ count }) => count));
  // A few among thousands are still there.
  const bar = (count: number) => (count === 0 ? '' : '█'.repeat(Math.floor((BAR * count) / most)) || '▏');
  return table(
    ['from', 'to', 'weights', ''],
    bins.map(({ from, to, count }) => [short(from), short(to), count, bar(count)]),
  );
}
