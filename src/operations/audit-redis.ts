/**
 * Looks over what Redis holds of this namespace, and compares it with Postgres: an auditor, for a sample now and then, who
 * changes nothing. Each entry is read before the head it is compared with, so that whatever a node put there by rights is
 * known to Postgres by then.
 *
 * An entry that is older than its head is no fault: the revision and the stamp keep every node from serving it
 * (docs/consistency.md). A revision that Postgres never gave is one, and so is a revision with another version or body.
 */
import type { Cluster, Redis } from 'ioredis';
import { crc32c, decodeHalf, halve } from '../adapter/codec.js';
import type { AdapterRecord } from '../adapter/record.js';
import { parseAdapterName, parseUserId } from '../adapter/user-id.js';
import { type Key, keyOf } from '../coherence/key.js';
import { within } from '../deadline.js';
import { StorageUnavailableError } from '../errors.js';
import { Pace } from '../storage/pace.js';
import type { Entry } from '../tiers/entry.js';
import { FORMAT } from '../tiers/redis.js';
import { decodeEntry, isFillToken } from '../tiers/redis-entry.js';
import { checked } from '../tiers/row.js';
import type { BodyColumn } from '../tiers/statements.js';
import { batches } from './batches.js';
import { LATEST } from './statements/whole-tables.js';
import type { Tables } from './tables.js';
import type { VerifyOptions } from './verify.js';

export interface CacheFinding {
  /** As it stands in Redis. */
  readonly key: string;
  readonly reason: string;
}

export class Audit {
  /** Entries that were compared. */
  entries = 0;
  /** Of these: the same as in Postgres. */
  same = 0;
  /** Of these: older than their head. */
  behind = 0;
  /** Of these: of an adapter that Postgres knows nothing of any more. */
  forgotten = 0;
  readonly findings: CacheFinding[] = [];
  /** False: it ended early, by a signal, an error, or having found enough. */
  complete = false;
}

/** Of one command: nobody waits for an auditor, and a server that is busy may take its time. */
const TIMEOUT_MS = 10_000;

type Latest = [revision: number | null, version: number | null, body: BodyColumn, checksum: number | null, now: number];

export interface Cache {
  readonly client: Redis | Cluster;
  readonly namespace: string;
}

/** Fills `result` as it goes. */
export async function auditRedis(cache: Cache, tables: Tables, options: VerifyOptions, result: Audit): Promise<void> {
  const { limit, sample = 1, perSecond, signal, onProgress } = options;
  const pace = new Pace(perSecond);
  for await (const names of scan(cache, options.userId)) {
    const chosen = sample >= 1 ? names : names.filter(() => Math.random() < sample);
    const sizes = await lengths(cache.client, chosen);
    for (const batch of batches(chosen, (name) => sizes.get(name) ?? 0, pace.burst)) {
      await pace.admit(batch.length, signal);
      await compare(cache, tables, batch, result);
      onProgress?.(result.entries, 0);
      if (result.findings.length < limit) continue;
      result.findings.splice(limit);
      return;
    }
    signal?.throwIfAborted();
  }
  result.complete = true;
}

async function compare(
  { client, namespace }: Cache,
  tables: Tables,
  names: readonly string[],
  result: Audit,
): Promise<void> {
  const values = await Promise.all(names.map((name) => answer(client.getBuffer(bare(client, name)).catch(wrongType))));
  const entries: { name: string; key: Key; entry: Entry }[] = [];
  for (const [i, name] of names.entries()) {
    const value = values[i];
    if (value === null || value === undefined || (typeof value !== 'string' && isFillToken(value))) continue;
    result.entries++;
    try {
      if (typeof value === 'string') throw new Error(value);
      const key = keyIn(name.slice(`${client.options.keyPrefix ?? ''}${namespace}:${FORMAT}:`.length));
      entries.push({ name, key, entry: decodeEntry(key, value) });
    } catch (error) {
      const { reason, message } = error as { reason?: string; message: string };
      result.findings.push({ key: name, reason: reason ?? message });
    }
  }
  if (entries.length === 0) return;
  const keys = entries.map(({ key }) => key);
  const heads = await tables.rows<Latest>(LATEST, [keys.map((key) => key.userId), keys.map((key) => key.adapterName)]);
  for (const [i, { name, key, entry }] of entries.entries()) {
    const verdict = judge(key, entry, heads[i] as Latest);
    if (verdict === 'same' || verdict === 'behind' || verdict === 'forgotten') result[verdict]++;
    else result.findings.push({ key: name, reason: verdict });
  }
}

/** 'same', 'behind' or 'forgotten'; or what is wrong. */
function judge(key: Key, entry: Entry, [revision, latest, body, checksum, now]: Latest): string {
  const never = `it claims revision ${entry.revision}, which Postgres never gave`;
  if (revision === null) {
    if (entry.revision === 0) return 'same';
    // Its head is gone, by forgetUser or with migration 003; revisions follow the server's clock all the same.
    return entry.revision > now ? `${never}: it is of a time to come` : 'forgotten';
  }
  if (entry.revision > revision) return `${never}: the head is at ${revision}`;
  if (entry.revision < revision) return 'behind';
  const version = latest ?? 0;
  if (entry.version !== version)
    return `it is version ${entry.version} under revision ${revision}, whose version is ${version}`;
  if (entry.record === undefined) return 'same';
  const record = checked(key, version, body, checksum);
  if (record instanceof Error) return `the row it is a copy of is bad: ${record.reason}`;
  return sameWeights(entry.record, record) ? 'same' : `its weights are not those of version ${version} in Postgres`;
}

/** A copy in half precision equals what such a copy would be made of the row. */
function sameWeights(cached: AdapterRecord, stored: AdapterRecord): boolean {
  if (!cached.rounded) return cached.bytes.equals(stored.bytes);
  const half = halve(stored);
  return half !== undefined && crc32c(decodeHalf(half).bytes) === crc32c(cached.bytes);
}

/** The names there are, a page at a time, of every node of a cluster. */
async function* scan({ client, namespace }: Cache, userId?: string): AsyncGenerator<string[]> {
  const { keyPrefix = '' } = client.options;
  const prefix = `${keyPrefix}${namespace}:${FORMAT}:${userId === undefined ? '' : `{${userId}}:`}`;
  const pattern = `${prefix.replaceAll(/[\\*?[\]]/g, '\\$&')}*`;
  for (const node of 'nodes' in client ? client.nodes('master') : [client]) {
    let cursor = '0';
    do {
      const [next, names] = await answer(node.scan(cursor, 'MATCH', pattern, 'COUNT', 1000));
      yield [...new Set(names)];
      cursor = next;
    } while (cursor !== '0');
  }
}

async function lengths(client: Redis | Cluster, names: readonly string[]): Promise<Map<string, number>> {
  const sizes = await Promise.all(names.map((name) => answer(client.strlen(bare(client, name)).catch(wrongType))));
  return new Map(names.map((name, i) => [name, Number(sizes[i]) || 0]));
}

/** The name as commands take it: a client of the caller's puts its prefix before it. */
function bare(client: Redis | Cluster, name: string): string {
  return name.slice((client.options.keyPrefix ?? '').length);
}

/** `{user}:name` */
function keyIn(rest: string): Key {
  const [, userId, adapterName] = /^\{([^}]*)\}:(.*)$/s.exec(rest) ?? [];
  try {
    return keyOf(parseUserId(userId), parseAdapterName(adapterName));
  } catch {
    throw new Error('its key is that of no adapter');
  }
}

/** What stands there instead of a string. */
function wrongType(error: Error): string {
  if (error.message.startsWith('WRONGTYPE')) return 'it is no string';
  throw error;
}

async function answer<T>(reply: Promise<T>): Promise<T> {
  return await within(reply, TIMEOUT_MS, 'Redis').catch((cause: Error) => {
    throw new StorageUnavailableError(`cannot read from Redis: ${cause.message}`, { cause });
  });
}
