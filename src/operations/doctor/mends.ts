/** What mends that a check could not be made. */
import { SchemaError } from '../../errors.js';
import { sqlState, UnreachableError } from '../../postgres/failure.js';
import { failure, NOT_CHECKED, type Patient, type Verdict } from './finding.js';
import { rights, takesWrites } from './rights.js';

export const LOOK = `psql "$DATABASE_URL" --command='select version(), current_user, pg_is_in_recovery()'`;

export async function notChecked(error: Error, patient: Patient): Promise<Verdict> {
  // What to run is said by the mend.
  const why = error instanceof SchemaError ? error.message.replace(/: run [`'].*$/, '') : error.message;
  return failure(`${NOT_CHECKED}: ${why}`, await mendOf(error, patient));
}

/** Undefined: nobody knows. */
export async function mendOf(error: Error, patient: Patient): Promise<string | undefined> {
  if (error instanceof SchemaError) return 'npx lora-store migrate up';
  const state = sqlState(error) ?? sqlState(error.cause);
  if (state === '42501') return (await rights(patient)).mend;
  if (state === '25006') return (await takesWrites(patient)).mend;
  return state === undefined && !(error.cause instanceof UnreachableError) ? undefined : LOOK;
}
