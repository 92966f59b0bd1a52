/**
 * What the pages of the project quote of bench/results/reference.json: a page says with two comments where, and never
 * holds a figure that was typed.
 */
import { explained } from '../explanations.js';
import type { Results, SideResult } from '../harness/results.js';
import { caseTitle } from './cases.js';
import { pair, quartiles, statisticName } from './intervals.js';
import { outcome, verdict } from './targets.js';
import { bound, ratio as digits, duration } from './units.js';

/** What can be quoted, by the word in the opening comment: <!-- bench: targets --> … <!-- /bench -->. */
const blocks: Readonly<Record<string, (results: Results) => string>> = {
  targets: targetBlock,
  short: shortBlock,
  ratios: ratioBlock,
};

/** The page with its blocks as `reference` gives them; without a reference they are empty. */
export function withTables(page: string, reference: Results | undefined): string {
  if (reference?.quick) throw new Error('the reference is a quick run, and its figures go into no table');
  return page.replace(
    /(<!-- bench: (\w+) -->\n)[\s\S]*?(<!-- \/bench -->)/g,
    (_, open: string, name: string, close) => {
      const block = blocks[name];
      if (block === undefined)
        throw new Error(`no table is called ${name}; there are ${Object.keys(blocks).join(', ')}`);
      return `${open}${reference === undefined ? '' : block(reference)}${close}`;
    },
  );
}

/** What a user waits for, and by which side of which case it was measured. */
const CALLS = [
  ['a load from memory', 'memory', 'hit, awaited', 'loadAdapter'],
  ['from Redis', 'redis', 'hit in Redis', 'loadAdapter'],
  ['from Postgres', 'postgres', 'one load at a time', 'loadAdapter'],
  ['a save', 'save', 'one save at a time', 'saveAdapter'],
] as const;

function targetBlock(results: Results): string {
  const rows = results.targets.map((target) => [
    target.what,
    bound(target),
    target.value === null ? '' : digits(target.value),
    outcome(target),
  ]);
  return `## Measured

${measuredOn(results)}

${callsOf(results)}The targets say how near that comes to the least that it could take: to the same work by hand, in C or Rust, or by another package.
${verdict(results)} bench/README.md says why one is short.

${table(['what', 'target', 'measured', ''], rows)}
`;
}

/** Nothing, where none of them was measured. */
function callsOf({ cases }: Results): string {
  const took = CALLS.flatMap(([what, name, group, side]) => {
    const sides = cases.find((one) => one.name === name)?.sides;
    const found = sides?.find((one) => one.group === group && one.name === side);
    return found === undefined ? [] : [`${what} ${duration(found.latency.p50)}`];
  });
  return took.length === 0 ? '' : `One call at a time, in the median: ${took.join(', ')}. `;
}

function shortBlock({ targets }: Results): string {
  // What was found out since the run counts too.
  const short = targets.filter(({ met }) => met === false).map(explained);
  const rows = short.map((target) => [
    target.what,
    digits(target.value ?? 0),
    bound(target),
    target.why ?? 'not known',
  ]);
  return `${table(['short', 'measured', 'target', 'why'], rows)}\n`;
}

function ratioBlock(results: Results): string {
  const sections = results.cases.filter(({ ratios }) => ratios.length > 0);
  return `${measuredOn(results)}

${sections.map((one) => `### ${caseTitle(one)}\n\n${one.question}\n\n${ratioTable(one)}\n`).join('\n')}`;
}

function ratioTable({ sides, ratios }: Results['cases'][number]): string {
  const besides = ({ group }: SideResult, name: string) =>
    sides.find((side) => side.group === group && side.name === name);
  const rows = ratios.map((ratio) => {
    // Another group may have a side of that name too.
    const of = sides.find((side) => side.name === ratio.of && besides(side, ratio.to) !== undefined);
    const to = of && besides(of, ratio.to);
    const p50s = [of, to].map((side) => (side === undefined ? '' : duration(side.latency.p50)));
    return [pair(ratio), statisticName(ratio), digits(ratio.median), quartiles(ratio), ...p50s];
  });
  return table(['sides', 'of', 'median', 'quartiles', 'p50', 'p50 of the other'], rows);
}

function measuredOn({ date, environment }: Results): string {
  const { cpu, cores, node, servers, codec } = environment;
  const where = [
    `${cpu}, ${cores} cores`,
    `Node ${node}`,
    `codec ${codec}`,
    ...Object.entries(servers).map(([name, of]) => `${name} ${of}`),
  ];
  return `${date.slice(0, 10)}, at ${environment.commit}: ${where.join('; ')}.`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map(escaped).join(' | ')} |`).join('\n');
}

function escaped(cell: string): string {
  return cell.replaceAll('|', '\\|');
}
