/** Failures of the Postgres tier as the errors its callers know. */
import { BrokenCircuitError } from 'cockatiel';
import { LoRAStorageError, SaveOutcomeUnknownError, SchemaError, StorageUnavailableError } from '../errors.js';
import { sqlState, UnreachableError } from '../postgres/failure.js';

/** For reads, and for writes that change nothing when they are sent again. last: why the breaker is open, where it is. */
export function readFailure(error: unknown, last?: Error): Error {
  if (error instanceof LoRAStorageError) return error;
  if (error instanceof UnreachableError) return new StorageUnavailableError(error.message, { cause: error });
  if (error instanceof BrokenCircuitError) {
    const why = last === undefined ? '' : `, since the last calls ended so: ${last.message}`;
    return new StorageUnavailableError(`Postgres is not asked for a moment${why}`, { cause: last ?? error });
  }
  const state = sqlState(error);
  if (state === undefined) return error instanceof Error ? error : new Error(String(error));
  if (/^(42P01|42703|42883)$/.test(state)) {
    return new SchemaError(`${messageOf(error)}: run 'npx lora-store migrate up'`, { cause: error });
  }
  return new StorageUnavailableError(`Postgres refused (${state}): ${messageOf(error)}${hint(state)}`, {
    cause: error,
  });
}

/** For appending a version: what may have been committed unheard must not look like a failure. */
export function saveFailure(error: unknown, last?: Error): Error {
  if (error instanceof UnreachableError && error.sent) {
    return new SaveOutcomeUnknownError(
      `${error.message}; whether the new version was committed is not known: load the adapter to see`,
      { cause: error },
    );
  }
  return readFailure(error, last);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function hint(state: string): string {
  switch (state) {
    case '25006':
      return '; it is a standby, or default_transaction_read_only is on: connect to the primary, or turn that off';
    case '42501':
      return '; give this role the rights of docs/sql/grants.sql';
    case '55P03':
      return '; another session holds the row for too long';
    case '57014':
      return '; raise postgresTimeoutMs if the server is merely slow';
    default:
      return '';
  }
}
