/** All checks, one after the other. One that throws, or takes too long, has failed, and the others go on. */
import { untilAborted } from '../../coherence/flight.js';
import { within } from '../../deadline.js';
import { postgresClock, redisClock } from './clocks.js';
import { type Check, type Finding, NOT_CHECKED, type Patient, type Verdict } from './finding.js';
import { notChecked } from './mends.js';
import { deadRows, planOfLoad, statistics } from './planner.js';
import { redisBus, redisCommands, redisDatabase, redisMemory, redisServer } from './redis.js';
import { rights, takesWrites } from './rights.js';
import { indexes, partitions, schema, weightsStorage } from './schema.js';
import { connections, durability, postgresVersion, tls } from './server.js';
import { latencyOf } from './tiers.js';
import { binaryResults, changeFeed, codecKind } from './wires.js';

/** Of one check. */
const BOUND_MS = 20_000;

const CHECKS: readonly (readonly [name: string, check: Check])[] = [
  ['postgres version', postgresVersion],
  ['durability', durability],
  ['tls', tls],
  ['writes', takesWrites],
  ['connections', connections],
  ['postgres clock', postgresClock],
  ['schema', schema],
  ['rights', rights],
  ['indexes', indexes],
  ['partitions', partitions],
  ['weights storage', weightsStorage],
  ['statistics', statistics],
  ['dead rows', deadRows],
  ['plan of a load', planOfLoad],
  ['change feed', changeFeed],
  ['binary results', binaryResults],
  ['codec', codecKind],
  ['redis version', redisServer],
  ['redis database', redisDatabase],
  ['redis memory', redisMemory],
  ['redis commands', redisCommands],
  ['redis pub/sub', redisBus],
  ['redis clock', redisClock],
  ['memory', latencyOf('memory')],
  ['redis', latencyOf('redis')],
  ['postgres', latencyOf('postgres')],
];

export interface ExamineOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, of: number) => void;
}

export async function examine(patient: Patient, { signal, onProgress }: ExamineOptions = {}): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [name, check] of CHECKS) {
    signal?.throwIfAborted();
    const begun = bounded(check, patient);
    const verdict = await (signal === undefined ? begun : untilAborted(begun, signal));
    findings.push({ name, ...verdict, found: toldOnce(verdict, findings) });
    onProgress?.(findings.length, CHECKS.length);
  }
  return findings;
}

/** What keeps several from being made is said of the first. */
function toldOnce({ found }: Verdict, before: readonly Finding[]): string {
  const first = found.startsWith(NOT_CHECKED) && before.find((finding) => finding.found === found);
  return first ? `${NOT_CHECKED}, as ${first.name}` : found;
}

/** boundMs: how long it may take. */
export async function bounded(check: Check, patient: Patient, boundMs = BOUND_MS): Promise<Verdict> {
  try {
    return await within(check(patient), boundMs, 'the check');
  } catch (error) {
    return await notChecked(error as Error, patient);
  }
}
