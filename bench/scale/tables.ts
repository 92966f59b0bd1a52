/**
 * What docs/scaling.md quotes of bench/results/scale.json, and what the model makes of it: the page says with two comments where, and
 * never holds a figure that was typed.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PageWithTables } from '../report/pages.js';
import { type Constants, constantNames, digits, figure, figureOf, wordsOf } from './constants.js';
import { type Assumptions, type Capacity, capacity, EXAMPLE, limits, type Measured } from './model.js';
import type { ScaleResults } from './results.js';

export const POPULATIONS = { '10 million': 1e7, '100 million': 1e8, '1 billion': 1e9 } as const;

const blocks: Readonly<Record<string, (results: ScaleResults) => string>> = {
  run: runBlock,
  calls: callsBlock,
  constants: constantsBlock,
  assumptions: assumptionsBlock,
  capacity: capacityBlock,
  limits: limitsBlock,
};

/** The page as it ought to be after that run. */
export function scalePage(root: string, results = readScale(root)): PageWithTables {
  const path = join(root, 'docs/scaling.md');
  const text = readFileSync(path, 'utf8');
  return { path, text, expected: withScale(text, results) };
}

export function readScale(root: string): ScaleResults | undefined {
  const path = join(root, 'bench/results/scale.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
}

export function withScale(page: string, results: ScaleResults | undefined): string {
  if (results?.quick) throw new Error('bench/results/scale.json is a quick run, and its figures go into no table');
  return page.replace(
    /(<!-- scale: (\w+) -->\n)[\s\S]*?(<!-- \/scale -->)/g,
    (_, open: string, name: string, close) => {
      const block = blocks[name];
      if (block === undefined)
        throw new Error(`no table is called ${name}; there are ${Object.keys(blocks).join(', ')}`);
      return `${open}${results === undefined ? '' : block(results)}${close}`;
    },
  );
}

function runBlock({ command, date, environment: at, settings, users, full, seconds }: ScaleResults): string {
  const more = Object.entries(settings).filter(([name]) => !at.servers.postgres?.includes(name));
  const named = more.map(([name, value]) => `${name} ${value}`);
  return `\`${command}\`, ${date.slice(0, 10)}, at ${at.commit}, ${digits(seconds / 60)} minutes: ${count(users)} users with an adapter of
rank 1 and ${count(full)} of full size. ${at.cpu}, ${at.cores} cores, ${digits(at.memoryBytes / 1e9)} GB; Node ${at.node}; codec ${at.codec};
postgres ${at.servers.postgres}, ${named.join(', ')}; redis ${at.servers.redis}.
`;
}

function callsBlock({ loads: { sides } }: ScaleResults): string {
  const time = (us: number) => figure(us, 'µs');
  const rows = sides.map(({ group, name, latency: { p50, p99 }, perSecond }) => [
    group,
    name,
    time(p50),
    time(p99),
    digits(perSecond),
  ]);
  return table(['what', 'by', 'p50', 'p99', 'a second'], rows);
}

function constantsBlock({ constants }: ScaleResults): string {
  const rows = constantNames.map((name) => {
    const value = constants[name];
    return [`\`${name}\``, wordsOf(name), value === undefined ? 'not measured' : figureOf(name, value)];
  });
  return table(['constant', 'what', 'measured'], rows);
}

const assumptions: readonly (readonly [name: keyof Assumptions, what: string, figure: string])[] = [
  ['activeShare', 'of the users, who come on a day', figure(EXAMPLE.activeShare, 'share')],
  ['sessions', 'sessions of each of them a day; a session stays on its node', digits(EXAMPLE.sessions)],
  ['loadsPerSession', 'loads in a session, one for each ranking', digits(EXAMPLE.loadsPerSession)],
  ['savesPerSession', 'saves in a session, one for each training', digits(EXAMPLE.savesPerSession)],
  ['sessionSeconds', 'length of a session', figure(EXAMPLE.sessionSeconds, 's')],
  ['peak', 'the busiest moment over the mean of the day', digits(EXAMPLE.peak)],
  ['versionsKept', 'versions that a nightly prune keeps', digits(EXAMPLE.versionsKept)],
  ['busy', 'of what one server was measured to do, how much it does at the peak', figure(EXAMPLE.busy, 'share')],
  ['primaryBytes', 'disk that one primary may fill', figure(EXAMPLE.primaryBytes, 'B')],
  ['primaryCores', 'cores of one primary', digits(EXAMPLE.primaryCores)],
  ['masterBytes', '`maxmemory` of one Redis master', figure(EXAMPLE.masterBytes, 'B')],
  ['nodeBytes', '`memory.maxBytes` of one node, a process of one core', figure(EXAMPLE.nodeBytes, 'B')],
];

function assumptionsBlock(): string {
  return table(
    ['assumption', 'what', 'example'],
    assumptions.map(([name, what, example]) => [`\`${name}\``, what, example]),
  );
}

/** What, where it comes from, and its figure. */
type Row = readonly [what: string, how: string, cell: (of: Capacity) => string];

const ASSUMED = 'assumed';
const MULTIPLIED = 'extrapolated: measured by one, times how many';
const DIVIDED = 'extrapolated: needed, divided by what one was measured to do';
const GIVEN = 'extrapolated: needed, divided by what one is given (assumed)';
const LARGER = 'the larger of these';

const bytes = (value: number) => figure(value, 'B');
const share = (value: number) => figure(value, 'share');

const rows: readonly Row[] = [
  ['users active on a day', ASSUMED, (of) => count(of.activeUsers)],
  ['loads a second at the peak', ASSUMED, (of) => digits(of.loads)],
  ['… that memory answers', ASSUMED, (of) => digits(of.memoryHits)],
  ['… that Redis answers', ASSUMED, (of) => digits(of.redisHits)],
  ['… that Postgres answers', ASSUMED, (of) => digits(of.postgresLoads)],
  ['saves a second at the peak', ASSUMED, (of) => digits(of.saves)],
  ['Postgres: disk in all', MULTIPLIED, (of) => bytes(of.postgresBytes)],
  ['Postgres: WAL a day', MULTIPLIED, (of) => bytes(of.walBytesPerDay)],
  ['primaries, for the saves', DIVIDED, (of) => count(of.primariesBySaves)],
  ['primaries, for the disk', GIVEN, (of) => count(of.primariesByBytes)],
  ['primaries, for the loads', DIVIDED, (of) => count(of.primariesByLoads)],
  ['**primaries**', LARGER, (of) => `**${count(of.primaries)}**`],
  ['one primary: one pass over its bodies', DIVIDED, (of) => `${digits(of.copySeconds / 3600)} h`],
  ['one primary: autovacuum, of the day', DIVIDED, (of) => share(of.vacuumShare)],
  ['Redis: memory in all, f32 / f16', MULTIPLIED, (of) => `${bytes(of.redisBytes)} / ${bytes(of.redisHalfBytes)}`],
  ['**Redis masters**, f32 / f16', GIVEN, (of) => `**${count(of.masters)} / ${count(of.mastersHalf)}**`],
  ['nodes: cached adapters in all', MULTIPLIED, (of) => bytes(of.nodeMemoryBytes)],
  ['nodes: cores for storage in all', MULTIPLIED, (of) => digits(of.nodeCores)],
  ['each node: of a core, to hear of every save', MULTIPLIED, (of) => share(of.hearingShare)],
  ['**nodes**', GIVEN, (of) => (Number.isFinite(of.nodes) ? `**${count(of.nodes)}**` : '**none can**')],
];

function capacityBlock({ constants }: ScaleResults): string {
  const of = measured(constants);
  const columns = Object.values(POPULATIONS).map((users) => capacity(users, of));
  return table(
    ['', 'how', ...Object.keys(POPULATIONS)],
    rows.map(([what, how, cell]) => [what, how, ...columns.map(cell)]),
  );
}

function limitsBlock({ constants }: ScaleResults): string {
  return table(
    ['what ends', 'extrapolated: at users'],
    limits(measured(constants), EXAMPLE).map(({ what, users }) => [what, digits(users / 1e6).concat(' million')]),
  );
}

function measured(constants: Partial<Constants>): Measured {
  const missing = constantNames.filter((name) => constants[name] === undefined);
  if (missing.length > 0) throw new Error(`the run has not measured ${missing.join(', ')}`);
  return constants as Constants;
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
