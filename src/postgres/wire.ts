/**
 * Result columns as JavaScript values, the same from both wire formats: integers as numbers (all of ours fit 2^53),
 * timestamps as milliseconds since the epoch, bytea through a function of the caller's that must copy what it keeps.
 */
import pg from 'pg';

const OID = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  float8: 701,
  timestamptz: 1184,
  uuid: 2950,
  xid8: 5069,
};

/** Postgres counts microseconds from 2000-01-01; in milliseconds of the Unix epoch. */
const POSTGRES_EPOCH_MS = 946_684_800_000;

type Column = (raw: Buffer | string) => unknown;

/** pg's `types` of a query: both formats, bytea by `bytes`. */
export function columnTypes(bytes: (raw: Buffer) => unknown = (raw) => Buffer.from(raw)): pg.CustomTypesConfig {
  const binary = new Map<number, Column>([
    [OID.bool, (raw) => (raw as Buffer)[0] === 1],
    [OID.bytea, (raw) => bytes(raw as Buffer)],
    [OID.int8, int64],
    [OID.xid8, int64],
    [OID.int4, (raw) => (raw as Buffer).readInt32BE(0)],
    [OID.int2, (raw) => (raw as Buffer).readInt16BE(0)],
    [OID.float8, (raw) => (raw as Buffer).readDoubleBE(0)],
    [OID.timestamptz, (raw) => Math.floor(int64(raw) / 1000) + POSTGRES_EPOCH_MS],
    [OID.uuid, uuid],
  ]);
  const text = new Map<number, Column>([
    [OID.bool, (raw) => raw === 't'],
    [OID.bytea, (raw) => bytes(unhex(raw as string))],
    [OID.int8, Number],
    [OID.xid8, Number],
    [OID.int4, Number],
    [OID.int2, Number],
    [OID.float8, Number],
    [OID.timestamptz, (raw) => (pg.types.getTypeParser(OID.timestamptz)(raw as string) as Date).getTime()],
  ]);
  return {
    getTypeParser: ((oid: number, format?: string): Column =>
      format === 'binary' ? (binary.get(oid) ?? utf8) : (text.get(oid) ?? utf8)) as typeof pg.types.getTypeParser,
  };
}

function int64(raw: Buffer | string): number {
  const buffer = raw as Buffer;
  return buffer.readInt32BE(0) * 2 ** 32 + buffer.readUInt32BE(4);
}

function uuid(raw: Buffer | string): string {
  const hex = (raw as Buffer).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function unhex(raw: string): Buffer {
  // bytea_output = 'escape' is an old server's or a role's setting; pg's own parser knows it.
  if (!raw.startsWith('\\x')) return pg.types.getTypeParser(OID.bytea)(raw) as Buffer;
  return Buffer.from(raw.slice(2), 'hex');
}

function utf8(raw: Buffer | string): string {
  return typeof raw === 'string' ? raw : raw.toString('utf8');
}
