/** Messages of Postgres come whole out of reads that were cut anywhere, from a buffer that is written over. */
import { expect, test } from 'vitest';
import { wholeMessages } from '../../src/postgres/reading.js';

const SIZES = [0, 1, 41_052, 3, 200_000, 0, 2_500_000, 7, 41_052];

function message(type: number, size: number): Buffer {
  const bytes = Buffer.alloc(5 + size, type);
  bytes.writeUInt32BE(4 + size, 1);
  return bytes;
}

const STREAM = Buffer.concat(SIZES.map((size, i) => message(65 + i, size)));

test.each([1, 4, 5, 6, 1000, 65_536, STREAM.length])('reads of %i bytes', (size) => {
  const buffer = Buffer.alloc(size);
  const came: Buffer[] = [];
  const received = wholeMessages((bytes) => {
    let at = 0;
    while (at < bytes.length) at += 1 + bytes.readUInt32BE(at + 1);
    expect(at, 'whole messages').toBe(bytes.length);
    came.push(Buffer.from(bytes));
  });
  const stream = size < 100 ? STREAM.subarray(0, 60_000) : STREAM;
  for (let at = 0; at < stream.length; at += size) {
    const count = stream.copy(buffer, 0, at, at + size);
    received(buffer.subarray(0, count));
    buffer.fill(0xff);
  }
  const all = Buffer.concat(came);
  expect(all.equals(stream.subarray(0, all.length))).toBe(true);
  // Of a stream that ends in the middle of a message, all but that.
  if (stream === STREAM) expect(all.length).toBe(STREAM.length);
  else
    expect(all.length).toBe(
      message(0, 0).length + message(0, 1).length + message(0, 41_052).length + message(0, 3).length,
    );
});
