/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), the checksum of iSCSI, ext4 and LevelDB, in plain TypeScript.
 * Eight bytes a step through eight tables ("slicing-by-8"): about four times as fast as a byte at a time.
 */

const POLYNOMIAL = 0x82f63b78;

// TABLES[256 * k + b]: what byte b contributes when k more bytes follow it in the step.
const TABLES = buildTables();

function buildTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const shorter = tables[i - 256] as number;
    tables[i] = (tables[shorter & 0xff] as number) ^ (shorter >>> 8);
  }
  return tables;
}

function table(distance: number, byte: number): number {
  return TABLES[256 * distance + byte] as number;
}

/** CRC-32C of bytes that continue those whose CRC is `seed`: crc(b, crc(a)) is the CRC of a followed by b. */
export function crc32cPortable(bytes: Uint8Array, seed = 0): number {
  const byte = (at: number) => bytes[at] as number;
  let crc = ~seed;
  let i = 0;
  for (const end = bytes.length - 7; i < end; i += 8) {
    crc =
      table(7, byte(i) ^ (crc & 0xff)) ^
      table(6, byte(i + 1) ^ ((crc >>> 8) & 0xff)) ^
      table(5, byte(i + 2) ^ ((crc >>> 16) & 0xff)) ^
      table(4, byte(i + 3) ^ (crc >>> 24)) ^
      table(3, byte(i + 4)) ^
      table(2, byte(i + 5)) ^
      table(1, byte(i + 6)) ^
      table(0, byte(i + 7));
  }
  for (; i < bytes.length; i++) crc = table(0, (crc ^ byte(i)) & 0xff) ^ (crc >>> 8);
  return ~crc >>> 0;
}
