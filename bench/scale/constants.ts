/** What a run measures: what the model of model.ts is fed with and more, each with its words and its unit. */

type Unit = 'B' | 'µs' | '/s' | 'B/s' | 's' | '' | 'share';

const described = {
  fillSmallPerSecond: ['users written a second, INSERT … SELECT of 10,000 with all triggers, rank 1', '/s'],
  fillFullPerSecond: ['users written a second, INSERT … SELECT of 1,000 with all triggers, full size', '/s'],

  userBytes: ['a row of users with its index', 'B'],
  headBytes: ['a head: row, the room that its page keeps for updates, index', 'B'],
  headIndexBytes: ['of which index', 'B'],
  smallVersionBytes: ['a version of rank 1: row and five indexes', 'B'],
  rowBytes: ['a version of full size: row', 'B'],
  toastBytes: ['a version of full size: TOAST, with its index', 'B'],
  indexBytes: ['a version of full size: five indexes', 'B'],

  redisBytes: ['a Redis entry of full size, f32', 'B'],
  redisHalfBytes: ['a Redis entry of full size, f16', 'B'],
  redisAbsentBytes: ['a Redis entry that says: there is none', 'B'],

  memoryHitUs: ['a hit in memory, p50, which is CPU of the node', 'µs'],
  redisHitNodeUs: ['a Redis hit, 8 at once: CPU of the node', 'µs'],
  redisHitRedisUs: ['a Redis hit, 8 at once: CPU of Redis', 'µs'],
  postgresLoadNodeUs: ['a load from Postgres, 8 at once: CPU of the node', 'µs'],
  postgresLoadPostgresUs: ['a load from Postgres, 8 at once: CPU of Postgres', 'µs'],
  diskBytesPerLoad: ['read from the disk by a load of full size whose pages were in no cache', 'B'],

  commitUs: ['a commit of one row that waits for the disk, p50, alone', 'µs'],
  savesPerSecondSmall: ['saves a second, 32 writers, rank 1', '/s'],
  savesPerSecond: ['saves a second, 32 writers, full size', '/s'],
  savesPerSecondSilent: ['the same without NOTIFY (triggers that tell disabled, for comparison only)', '/s'],
  savesPerSecondBoth: ['saves a second, 16 writers in each of two databases of one server', '/s'],
  saveNodeUs: ['a save of full size, 32 writers: CPU of the node', 'µs'],
  savePostgresUs: ['a save of full size, 32 writers: CPU of Postgres', 'µs'],
  walBytesSmall: ['WAL of a save of rank 1, soon after a checkpoint', 'B'],
  walBytes: ['WAL of a save of full size, soon after a checkpoint', 'B'],
  walPageImages: ['of which images of whole pages, of 8 KB each', ''],
  notifyQueueShare: ['the most that was seen of the NOTIFY queue in use during saves', 'share'],

  earPerSecond: ['notifications of Postgres that a node hears a second, nothing else to do', '/s'],
  earUs: ['CPU of a node for a notification of Postgres', 'µs'],
  busPerSecond: ['messages of Redis that a node hears a second, nothing else to do', '/s'],
  busUs: ['CPU of a node for a message of Redis', 'µs'],

  hotShare: ['updates of heads that were HOT', 'share'],
  deadHeadsPerSave: ['dead rows of heads that a save leaves to vacuum', ''],
  pruneRowsPerSecond: ['versions that pruneVersions deletes a second', '/s'],
  firstVacuumBytesPerSecond: ['VACUUM of the adapters after the fill: every page is looked at', 'B/s'],
  prunedShare: ['of all versions, what a prune deleted', 'share'],
  vacuumBodiesUs: ['VACUUM of the adapters after that prune, by pruned version', 'µs'],
  vacuumThrottledUs: ['the same at the pace of autovacuum (cost_delay 2 ms)', 'µs'],
  vacuumHeadsSeconds: ['VACUUM of the heads after that', 's'],
  bloat: ['size of the adapters after three rounds of saves, prune and VACUUM / after the first', ''],
  bloatOverFresh: ['the same / what as many versions take after the fill', ''],
  copyBytesPerSecond: ['bodies read a second by one COPY, from the disk: the least that a backup does', 'B/s'],
} as const satisfies Readonly<Record<string, readonly [what: string, unit: Unit]>>;

export type ConstantName = keyof typeof described;
export type Constants = Readonly<Record<ConstantName, number>>;

export const constantNames = Object.keys(described) as ConstantName[];

export function wordsOf(name: ConstantName): string {
  return described[name][0];
}

export function figureOf(name: ConstantName, value: number): string {
  return figure(value, described[name][1]);
}

/** Three digits, in the unit that has them. */
export function figure(value: number, unit: Unit): string {
  switch (unit) {
    case 'B':
      return bytes(value);
    case 'B/s':
      return `${bytes(value)}/s`;
    case 'µs':
      if (value < 1) return `${digits(1000 * value)} ns`;
      return value < 1000 ? `${digits(value)} µs` : `${digits(value / 1000)} ms`;
    case 's':
      return value < 1 ? `${digits(1000 * value)} ms` : `${digits(value)} s`;
    case 'share':
      return `${digits(100 * value)} %`;
    case '/s':
      return digits(value);
    default:
      return digits(value);
  }
}

export function digits(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en-US', { maximumSignificantDigits: 3 });
}

function bytes(value: number): string {
  if (value < 100_000) return `${Math.round(value).toLocaleString('en-US')} B`;
  for (const [unit, of] of [
    ['PB', 1e15],
    ['TB', 1e12],
    ['GB', 1e9],
    ['MB', 1e6],
  ] as const)
    if (value >= of) return `${digits(value / of)} ${unit}`;
  return `${digits(value / 1e3)} kB`;
}
