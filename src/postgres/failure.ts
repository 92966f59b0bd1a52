/**
 * What went wrong with Postgres, sorted by what it means for the caller: the server was never asked, it was asked and
 * did not answer, or it answered with an SQLSTATE (then pg's DatabaseError passes through as it is).
 */
import pg from 'pg';

/** No answer. `sent`: the statement may have reached the server, so a write may have been committed. */
export class UnreachableError extends Error {
  readonly sent: boolean;

  constructor(sent: boolean, target: string, cause: unknown) {
    super(`cannot use Postgres at ${target}: ${why(cause)}`, { cause });
    this.name = 'UnreachableError';
    this.sent = sent;
  }
}

/** Every connection of the pool was taken, by calls of this process: that says nothing about the server. */
export class BusyPoolError extends UnreachableError {
  constructor(target: string, cause: unknown) {
    super(false, target, cause);
    this.name = 'BusyPoolError';
  }
}

/** SQLSTATE of an error the server reported, or undefined for every other kind. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/**
 * Server errors that say "not now" about the whole connection rather than something about the statement: connection
 * exceptions, too many connections, shutdown, start-up, crash, failed authentication, missing database.
 */
export function isConnectionState(state: string): boolean {
  return /^(08|57P0[1-5]|53300|28|3D000)/.test(state);
}

/** Deadlock, serialization failure, a version number taken by a foreign writer: the same statement may succeed again. */
export function isRetryable(error: unknown): boolean {
  return ['40P01', '40001', '23505'].includes(sqlState(error) ?? '');
}

/** Who is waited for when all connections are taken: another call of ours, and not the server. */
export const BUSY_POOL = 'a connection of the pool';

/** Whether that wait was in vain, by our budget or by the pool's own. */
export function isBusyPool(error: unknown): boolean {
  const { message } = error as Partial<Error>;
  return message?.startsWith(BUSY_POOL) === true || message === 'timeout exceeded when trying to connect';
}

/** What to do where the two sides do not agree on TLS; undefined: that was not it. authority: the setting that names one. */
export function tlsFailure(cause: unknown, authority = 'sslrootcert or ssl.ca'): string | undefined {
  const { code = '', message = String(cause) } = cause as { code?: string; message?: string };
  if (/SELF_SIGNED_CERT|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_UNTRUSTED/.test(code)) {
    return `its certificate is signed by nobody whom this process trusts; name its authority with ${authority}`;
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return 'its certificate is for another host; connect by a name that it holds';
  }
  if (message === 'The server does not support SSL connections') {
    return 'it speaks no TLS; set ssl = on there, or leave sslmode out';
  }
  if (code === '28000' && message.endsWith(', no encryption')) {
    return 'its pg_hba.conf does not let this user in without TLS; add sslmode=verify-full, or a line there';
  }
  return undefined;
}

function why(cause: unknown): string {
  const tls = tlsFailure(cause);
  if (tls !== undefined) return tls;
  const { code, message = String(cause) } = cause as { code?: string; message?: string };
  switch (code) {
    case '28P01':
    case '28000':
      return 'it refused the user or password; correct them in the connection settings';
    case '3D000':
      return 'there is no such database; create it, or correct the name';
    case '53300':
      return 'it has no connection left; raise max_connections or lower the size of the pools';
    case '57P03':
      return 'it is starting up, shutting down or recovering';
    case 'ECONNREFUSED':
      return 'connection refused; is it running, and is the port right?';
    case 'ENOENT':
    case 'ENOTFOUND':
      return 'there is no such host or socket';
    default:
      // pg says this of a password that is missing where the server asks for one.
      if (/SASL|password must be a string/.test(message)) return 'it asks for a password and none was given';
      if (isBusyPool(cause))
        return 'no connection of the pool became free in time; raise its max, or postgresTimeoutMs';
      // pg and its pool report a budget that ran out only through their texts.
      return /timeout|did not answer/i.test(message)
        ? 'it did not answer in time (postgresTimeoutMs)'
        : withoutCredentials(message);
  }
}

function withoutCredentials(message: string): string {
  return message.replace(/\/\/[^@/\s]*@/g, '//…@');
}
