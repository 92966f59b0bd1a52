/** The server itself: its version, whether what it commits lasts, who can listen in, and whether it has room for all nodes. */
import { CONNECTIONS, SESSION } from '../statements/doctor.js';
import { failure, ok, type Patient, type Verdict, warning } from './finding.js';
import { readSettings, setting } from './settings.js';

const OLDEST = 130_000;

/** Connections of a node: its pool, and its ear. */
const POOL = 10;
const EAR = 1;

export async function postgresVersion({ tables }: Patient): Promise<Verdict> {
  const settings = await readSettings(tables);
  return judgeVersion(Number(settings('server_version_num').value), settings('server_version').value);
}

/** number: 150018 for 15.18. */
export function judgeVersion(number: number, name: string): Verdict {
  if (number >= OLDEST) return ok(name);
  return failure(`${name}: the migrations need 13 or newer`, 'pg_upgrade --old-datadir … --new-datadir …');
}

/** Without these a commit that was acknowledged may be gone after a crash, and with it what every cache believes. */
export async function durability({ tables }: Patient): Promise<Verdict> {
  const settings = await readSettings(tables);
  const off = ['fsync', 'full_page_writes', 'synchronous_commit'].filter((name) => settings(name).value === 'off');
  if (off.length === 0) return ok('fsync, full_page_writes and synchronous_commit are on');
  const mends = await Promise.all(off.map((name) => setting(tables, name, 'on', settings(name))));
  return warning(`${off.join(', ')} off: a save that was acknowledged may be lost in a crash`, mends.join(' '));
}

export async function tls({ tables }: Patient): Promise<Verdict> {
  const [[, , far = false, version = null] = []] = await tables.rows<[string, string, boolean, string | null]>(
    SESSION,
    [],
  );
  return judgeTls(far, version);
}

/** far: over a network. version: of TLS; null: none. */
export function judgeTls(far: boolean, version: string | null): Verdict {
  if (version !== null) return ok(version);
  if (!far) return ok('none, on this machine');
  return warning(
    'none: weights and passwords cross the network in the clear',
    'export DATABASE_URL="$DATABASE_URL?sslmode=verify-full"',
  );
}

export async function connections({ tables }: Patient): Promise<Verdict> {
  const settings = await readSettings(tables);
  const room = Number(settings('max_connections').value) - Number(settings('superuser_reserved_connections').value);
  const [[used = 0, nodes = 0, hidden = 0] = []] = await tables.rows<[number, number, number]>(CONNECTIONS, []);
  const needed = nodes * (POOL + EAR);
  const inUse = `${used} of ${room} in use${hidden === 0 ? '' : `, ${hidden} of them hidden from this role`}`;
  const found = `${inUse}; ${nodes} nodes with a change feed, which take ${needed} with pools of ${POOL}`;
  if (Math.max(used, needed) <= 0.9 * room) return ok(found);
  const enough = Math.ceil(2 * Math.max(used, needed)) + Number(settings('superuser_reserved_connections').value);
  return warning(
    found,
    `alter system set max_connections = ${enough}; -- and restart the server, or give pools a smaller max`,
  );
}
