/**
 * What changes adapters. Postgres first; once it has committed, the floor of the key is raised here (so that this node
 * reads what it wrote), and Redis and the other nodes are told behind the caller's back: no cache failure fails a write.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { AdapterRecord } from '../adapter/record.js';
import type { Bus } from '../coherence/bus.js';
import type { Changes } from '../coherence/changes.js';
import type { Asked } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
import { StorageUnavailableError } from '../errors.js';
import type { Statement } from '../postgres/database.js';
import type { Entry } from '../tiers/entry.js';
import type { MemoryTier } from '../tiers/memory.js';
import type { PostgresTier, Written } from '../tiers/postgres.js';
import type { RedisTier } from '../tiers/redis.js';
import type { Invalidation } from './invalidation.js';
import { adapterPages, distinctKeys, type PruneOptions } from './prune.js';
import type { Tasks } from './tasks.js';

/** Rows a deletion removes at a time, so that none holds its locks for long. */
const BATCH_ROWS = 500;

interface Parts {
  readonly changes: Changes<Entry>;
  readonly memory: MemoryTier | undefined;
  readonly redis: RedisTier | undefined;
  readonly postgres: PostgresTier;
  readonly bus: Bus | undefined;
  readonly invalidation: Invalidation;
  readonly tasks: Tasks;
  readonly detach: (key: Key) => void;
  readonly renewHorizon: () => void;
}

export class Writer {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async save(key: Key, record: AdapterRecord, expectedVersion?: number): Promise<Entry> {
    const { changes, postgres, redis, invalidation } = this.#parts;
    const asked = this.#sending(key);
    const entry = await this.#doubting(key, postgres.save(key, record, expectedVersion, asked));
    invalidation.heard(key, entry.revision, 'self');
    changes.saved(key, entry);
    this.#tell({ key, revision: entry.revision, version: entry.version }, async () => {
      const settled = await redis?.write(key, entry);
      // Nobody else would remove it before its time is up.
      return changes.overtaken(key, entry) ? await redis?.clear(key, entry.revision + 1) : settled;
    });
    return entry;
  }

  async rollback(key: Key, toVersion: number): Promise<number> {
    this.#sending(key);
    const written = await this.#doubting(key, this.#parts.postgres.rollback(key, toVersion));
    this.#changed(written);
    return written.version;
  }

  async delete(key: Key, version?: number): Promise<number> {
    this.#sending(key);
    const { deleted, ...written } = await this.#doubting(key, this.#parts.postgres.delete(key, version));
    // 0: there never was such an adapter, and nobody has to be told.
    if (written.revision > 0) this.#changed(written);
    return deleted;
  }

  async forgetUser(userId: string): Promise<number> {
    const { postgres, memory, redis } = this.#parts;
    memory?.forgetUser(userId);
    const { deleted, heads } = await postgres.forgetUser(userId);
    for (const written of heads) this.#changed(written);
    // Again, for what a load that was under way put back; and in Redis also what no head knows: that a name is absent.
    memory?.forgetUser(userId);
    if (redis === undefined || (await redis.forgetUser(userId))) return deleted;
    // The one write that a cache fails: who is told that a user is erased must be able to rely on it.
    throw new StorageUnavailableError(
      `${deleted} rows of the user are erased, but Redis did not answer and may keep entries: call forgetUser again`,
    );
  }

  /**
   * Deletes what `statement` chooses of each adapter, in batches. Short of rows is a batch that chose few, not one whose
   * rows somebody else deleted first. `touchesLatest`: the heads may have changed too.
   */
  async prune(
    statement: Statement,
    values: readonly unknown[],
    touchesLatest: boolean,
    { signal, onProgress, ...range }: PruneOptions,
  ): Promise<number> {
    const { postgres } = this.#parts;
    let [adapters, deleted] = [0, 0];
    for await (const page of adapterPages((asked, given) => postgres.query(asked, given), range)) {
      adapters += page.names.length;
      for (let chosen = BATCH_ROWS; chosen === BATCH_ROWS; ) {
        signal?.throwIfAborted();
        const rows = await postgres.deleteBatch(statement, [page.userIds, page.names, ...values, BATCH_ROWS]);
        const gone = rows.filter(([, , isGone]) => isGone);
        chosen = rows.length;
        deleted += gone.length;
        if (touchesLatest && gone.length > 0) {
          for (const written of await postgres.heads(distinctKeys(gone))) this.#changed(written);
        }
        onProgress?.({ adapters, deleted, userId: page.lastUserId });
      }
    }
    return deleted;
  }

  #sending(key: Key): Asked {
    this.#parts.detach(key);
    return this.#parts.changes.sending(key, performance.now());
  }

  async #doubting<T>(key: Key, write: Promise<T>): Promise<T> {
    try {
      return await write;
    } catch (error) {
      const { changes, detach, renewHorizon } = this.#parts;
      if (changes.unanswered(key, performance.now()).renew) renewHorizon();
      detach(key);
      throw error;
    }
  }

  /** A head has changed, and its body is not at hand. */
  #changed(written: Written): void {
    const { invalidation, redis } = this.#parts;
    invalidation.heard(written.key, written.revision, 'self');
    this.#tell(written, () => redis?.clear(written.key, written.revision));
  }

  /** Redis first, then the other nodes: the message says whether Redis is right. */
  #tell({ key, revision, version }: Written, writeRedis: () => Promise<boolean | undefined> | undefined): void {
    const { bus, tasks } = this.#parts;
    if (bus === undefined) return;
    const tell = async () => {
      // The caller first: an entry takes time to be put together and handed to a socket.
      await turn();
      const settled = await writeRedis();
      // Redis being away was counted there; the change feed tells the others.
      await bus.publish(key, revision, version, settled).catch(() => undefined);
    };
    tasks.track(tell());
  }
}
