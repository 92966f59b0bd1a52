/** Of a session of one's own, beside the pool. */
import { statement } from '../../postgres/database.js';

export const UNHURRIED = 'set statement_timeout = 0; set lock_timeout = 0';

/** A role may end what its own sessions do. */
export const CANCEL = statement('cancel', 'select pg_catalog.pg_cancel_backend($1::int4)');
