/** Transactions that lose against another writer, sent again. */
import type { Session } from '../postgres/database.js';
import { isRetryable } from '../postgres/failure.js';
import type { Tables } from './tables.js';

const ATTEMPTS = 5;

/** A deadlock, or a row that somebody inserted at the same moment: the same work may succeed again. */
export async function retrying<T>(tables: Tables, work: (session: Session) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tables.transaction(work);
    } catch (error) {
      if (attempt === ATTEMPTS || !isRetryable((error as Error).cause ?? error)) throw error;
    }
  }
}
