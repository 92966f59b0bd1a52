/** Sessions whose interleaving a test writes out: whoever has to wait is seen waiting before the next statement goes out. */
import pg from 'pg';
import { waitFor } from '../../support/wait.js';

/** A connection whose statements may be sent without waiting for their answers. */
export class Session extends pg.Client {
  readonly pid = () => (this as unknown as { processID: number }).processID;

  /** Sends a statement and resolves, with its answer still open, once `observer` sees it wait for a lock. */
  async blocked<Answer>(observer: pg.Client, statement: Promise<Answer>): Promise<{ answer: Promise<Answer> }> {
    return await blockedBy(observer, 'pid = $1', this.pid(), statement);
  }
}

/** The same for whoever calls itself `application`. */
export async function blockedAs<Answer>(
  observer: pg.Client,
  application: string,
  statement: Promise<Answer>,
): Promise<{ answer: Promise<Answer> }> {
  return await blockedBy(observer, 'application_name = $1', application, statement);
}

async function blockedBy<Answer>(
  observer: pg.Client,
  which: string,
  value: number | string,
  statement: Promise<Answer>,
): Promise<{ answer: Promise<Answer> }> {
  statement.catch(() => undefined);
  const waiting = `select from pg_stat_activity where ${which} and cardinality(pg_blocking_pids(pid)) > 0`;
  await waitFor(async () => (await observer.query(waiting, [value])).rowCount === 1, {
    what: 'the statement to wait for a lock',
  });
  return { answer: statement };
}
