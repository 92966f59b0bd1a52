/** What a generator is told, and the frames in which it tells a node of arrivals. */
import type { Demand } from './demand.js';

export interface Arrivals extends Demand {
  readonly perSecond: number;
  readonly seconds: number;
}

/** start in microseconds of the shared clock (double), operation (uint32), user (uint32). */
export const FRAME_BYTES = 16;

export function writeFrame(to: Buffer, at: number, due: number, operation: number, user: number): void {
  to.writeDoubleLE(due, at);
  to.writeUInt32LE(operation, at + 8);
  to.writeUInt32LE(user, at + 12);
}

/** Calls `arrived` for each frame of a stream that is cut anywhere. */
export function frameReader(arrived: (due: number, operation: number, user: number) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (; at + FRAME_BYTES <= bytes.length; at += FRAME_BYTES) {
      arrived(bytes.readDoubleLE(at), bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12));
    }
    rest = bytes.subarray(at);
  };
}
