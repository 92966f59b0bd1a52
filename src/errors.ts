/**
 * Every error this package throws on purpose. One base class, a stable literal `code` in each, `cause` where there is
 * one. Messages say what to do where the caller can do something; they never hold weights or credentials.
 */

export class LoRAStorageError extends Error {
  readonly code: string = 'LORA_STORAGE';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    // On the prototype chain rather than per instance: `name` is what a log line shows first.
    this.name = new.target.name;
  }
}

/** No such adapter, or no such version of it. Inside the package absence is a value; only the public edge throws this. */
export class AdapterNotFoundError extends LoRAStorageError {
  override readonly code = 'ADAPTER_NOT_FOUND';
  readonly userId: string;
  readonly adapterName: string;
  readonly version?: number;

  constructor(userId: string, adapterName: string, version?: number) {
    const which = version === undefined ? 'adapter' : `version ${version} of adapter`;
    super(`${which} '${adapterName}' of user ${userId} not found`);
    this.userId = userId;
    this.adapterName = adapterName;
    if (version !== undefined) this.version = version;
  }
}

/** Bytes that are no adapter, or not the one asked for. */
export class AdapterCorruptError extends LoRAStorageError {
  override readonly code = 'ADAPTER_CORRUPT';
  /** What is wrong with the bytes, without saying whose they are. */
  readonly reason: string;
  /** Byte of the record where decoding failed. */
  readonly offset?: number;

  constructor(reason: string, details: { offset?: number; where?: string; cause?: unknown } = {}) {
    const { offset, where, cause } = details;
    const at = offset === undefined ? '' : ` (at byte ${offset})`;
    super(
      `cannot deserialize adapter${where ? ` ${where}` : ''}: ${reason}${at}`,
      cause === undefined ? undefined : { cause },
    );
    this.reason = reason;
    if (offset !== undefined) this.offset = offset;
  }
}

/** LORA_STORE_GUARD=1 found that this program wrote, past the types, to weights that memory holds. They were dropped. */
export class SharedWeightsError extends LoRAStorageError {
  override readonly code = 'SHARED_WEIGHTS_WRITTEN';
  readonly userId: string;
  readonly adapterName: string;

  constructor(userId: string, adapterName: string) {
    super(
      `the weights of adapter '${adapterName}' of user ${userId} were written to after they were loaded, and are shared ` +
        'with the cache and with everyone who loaded them: write in updateWeights(), or to a copy (copyWeightsTo, slice)',
    );
    this.userId = userId;
    this.adapterName = adapterName;
  }
}

/** The caller's input: a user id, an adapter name of 1 to 100 characters, a shape, a NaN, an integer out of range. */
export class InvalidAdapterError extends LoRAStorageError {
  override readonly code = 'INVALID_ADAPTER';
}

/** A content to be trained on has no embedding that can be used; nothing was trained. */
export class EmbeddingError extends LoRAStorageError {
  override readonly code = 'EMBEDDING_UNUSABLE';
  readonly contentId: string;

  /** what: what is wrong with it, in words that follow its name. cause: what asking for it threw. */
  constructor(contentId: string, what: string, options?: ErrorOptions) {
    super(`the embedding of content ${JSON.stringify(contentId.slice(0, 100))} ${what}`, options);
    this.contentId = contentId;
  }
}

/** `expectedVersion` was not the latest version; nothing was written. */
export class VersionConflictError extends LoRAStorageError {
  override readonly code = 'VERSION_CONFLICT';
  readonly expectedVersion: number;
  /** The latest version there is; 0: none. */
  readonly actualVersion: number;

  constructor(expectedVersion: number, actualVersion: number) {
    super(
      `expected version ${expectedVersion} but the latest is ${actualVersion}: load it, apply the change again and save`,
    );
    this.expectedVersion = expectedVersion;
    this.actualVersion = actualVersion;
  }
}

/** No `users` row, and `createMissingUsers` is off. */
export class UserNotFoundError extends LoRAStorageError {
  override readonly code = 'USER_NOT_FOUND';
  readonly userId: string;

  constructor(userId: string) {
    super(
      `user ${userId} has no row in table users: insert it first, or open the storage with createMissingUsers: true`,
    );
    this.userId = userId;
  }
}

/** Postgres cannot be reached in time, and no cache may answer in its place. */
export class StorageUnavailableError extends LoRAStorageError {
  override readonly code = 'STORAGE_UNAVAILABLE';
}

/** `maxQueue` loads are waiting for Postgres already, and no cache may answer in its place. */
export class StorageOverloadedError extends LoRAStorageError {
  override readonly code = 'STORAGE_OVERLOADED';
}

/** The connection died between sending a save and hearing of its commit. The next load tells what happened. */
export class SaveOutcomeUnknownError extends LoRAStorageError {
  override readonly code = 'SAVE_OUTCOME_UNKNOWN';
}

/** A call after close(). */
export class StorageClosedError extends LoRAStorageError {
  override readonly code = 'STORAGE_CLOSED';

  constructor() {
    super('this storage is closed: open a new one with LoRAStorage.open()');
  }
}

/** Tables, triggers or columns this version needs are missing. The message names the command that creates them. */
export class SchemaError extends LoRAStorageError {
  override readonly code = 'SCHEMA_OUT_OF_DATE';
}
