/** Files of the safetensors format: a u64 with the length of the header, the header as JSON, the tensors. */
import { type FileHandle, open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { floatOf } from '../adapter/half.js';
import { DTYPE_BYTES, type Header, parseHeader, SafetensorsError } from './safetensors-header.js';

/** What the reference implementation allows, too. */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;

export class SafetensorsFile {
  readonly header: Header;
  readonly #file: FileHandle;
  readonly #dataAt: number;

  private constructor(file: FileHandle, header: Header, dataAt: number) {
    this.#file = file;
    this.header = header;
    this.#dataAt = dataAt;
  }

  static async open(path: string): Promise<SafetensorsFile> {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const start = await bytesAt(file, 0, Math.min(LENGTH_BYTES, size));
      const length = headerLength(start, size);
      const text = await bytesAt(file, LENGTH_BYTES, length);
      const dataAt = LENGTH_BYTES + length;
      return new SafetensorsFile(file, parseHeader(text, size - dataAt), dataAt);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Numbers of a tensor, exactly. */
  async read(name: string): Promise<Float32Array> {
    const tensor = this.header.tensors.get(name);
    if (tensor === undefined) throw new SafetensorsError(`there is no tensor ${JSON.stringify(name)}`);
    const { dtype, begin, end } = tensor;
    if (!READABLE.includes(dtype)) {
      throw new SafetensorsError(
        `tensor ${JSON.stringify(name)} is of type ${dtype}: save it as ${READABLE.join(', ')}`,
      );
    }
    return floatsOf(name, dtype, await bytesAt(this.#file, this.#dataAt + begin, end - begin));
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

const READABLE = ['F32', 'F16', 'BF16'];

/** start: of the file, which has so many bytes. */
function headerLength(start: Buffer, fileBytes: number): number {
  if (start.length < LENGTH_BYTES) throw new SafetensorsError('the file ends before the length of its header');
  const length = start.readBigUInt64LE();
  if (length > MAX_HEADER_BYTES) {
    throw new SafetensorsError(`a header of ${length} bytes is larger than the ${MAX_HEADER_BYTES} that are allowed`);
  }
  if (Number(length) > fileBytes - LENGTH_BYTES) throw new SafetensorsError('the file ends before its header does');
  return Number(length);
}

function floatsOf(name: string, dtype: string, bytes: Buffer): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const width = DTYPE_BYTES[dtype] as number;
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  const read = (at: number): number => {
    if (dtype === 'F32') return view.getFloat32(at, true);
    const half = view.getUint16(at, true);
    if (dtype === 'F16') return (half & 0x7c00) === 0x7c00 ? Number.NaN : floatOf(half);
    bits[0] = half << 16;
    return float[0] as number;
  };
  const floats = Float32Array.from({ length: bytes.length / width }, (_, i) => read(i * width));
  const bad = floats.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new SafetensorsError(`tensor ${JSON.stringify(name)} has a NaN or an infinity at index ${bad}`);
  return floats;
}

export interface Written {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A whole file of F32 tensors, as the reference implementation writes it; names in their order. */
export function encodeSafetensors(tensors: readonly Written[], metadata: Record<string, string>): Buffer {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let at = 0;
  for (const { name, shape, data } of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  // Spaces, so that the tensors begin on a multiple of eight.
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...tensors.map(({ data }) => littleEndian(data))]);
}

function littleEndian(data: Float32Array): Buffer {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return endianness() === 'LE' ? bytes : Buffer.from(bytes).swap32();
}

async function bytesAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const { bytesRead } = await file.read(bytes, at, length - at, position + at);
    if (bytesRead === 0) throw new SafetensorsError('the file became shorter while it was read');
    at += bytesRead;
  }
  return bytes;
}
