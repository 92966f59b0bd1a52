/**
 * A pg.Client that can receive binary results. pg decodes every result field as UTF-8, which destroys a bytea sent in
 * binary; its text mode ships bytea as hex, twice the bytes. Here a field whose row description says "binary" is handed
 * out as the bytes that arrived, and every other field as the string pg expects.
 *
 * The bytes are a view of the socket's buffer and are overwritten by later messages: a type parser must read or copy
 * them before it returns.
 */
import pg from 'pg';
import { Parser } from 'pg-protocol/dist/parser.js';
import { readingSocket } from './reading.js';

const ROW_DESCRIPTION = 0x54;
const DATA_ROW = 0x44;

interface BackendMessage {
  readonly name: string;
  length: number;
}

interface RowDescription extends BackendMessage {
  readonly fields: readonly { readonly format: string }[];
}

/** The one method of pg-protocol's Parser that knows one message from the next; private in its types. */
interface PacketHandler {
  handlePacket(offset: number, code: number, length: number, bytes: Buffer): BackendMessage;
}

/** What this file needs of pg's Connection beyond its types. */
interface AttachableConnection {
  _emitMessage: boolean;
  readonly ssl: unknown;
  stream: NodeJS.ReadableStream;
  attachListeners(stream: NodeJS.ReadableStream): void;
  emit(event: string, message: BackendMessage): boolean;
}

/** pg.Client whose queries may ask for `binary: true`; `binaryResults` says whether the probe at connect found them whole. */
export class BinaryClient extends pg.Client {
  /** Set once by the pool, after known bytes came back unchanged. */
  binaryResults = false;
  /** Set with it: a pooler stands between this client and the server. */
  pooled = false;

  constructor(config?: pg.ClientConfig) {
    super(config);
    // On the instance, since pg builds its Connection from options (TLS, keep-alive, streams) that are not ours to repeat.
    const connection = this.connection as unknown as AttachableConnection;
    const parser = binaryParser();
    const received = (chunk: Buffer) =>
      parser.parse(chunk, (message) => {
        if (connection._emitMessage) connection.emit('message', message);
        connection.emit(message.name === 'error' ? 'errorMessage' : message.name, message);
      });
    // TLS reads for itself, and a stream of the caller's is the caller's.
    const plain = !connection.ssl && config?.stream === undefined;
    if (plain) connection.stream = readingSocket(received);
    connection.attachListeners = (stream) => {
      if (!plain) stream.on('data', received);
    };
  }
}

function binaryParser(): Parser {
  const parser = new Parser();
  const handler = parser as unknown as PacketHandler;
  const handleText = handler.handlePacket.bind(parser);
  let binary: readonly boolean[] = [];

  handler.handlePacket = (offset, code, length, bytes) => {
    if (code === DATA_ROW && binary.includes(true)) return dataRow(offset, length, bytes, binary);
    const message = handleText(offset, code, length, bytes);
    if (code === ROW_DESCRIPTION) binary = (message as RowDescription).fields.map((field) => field.format === 'binary');
    return message;
  };
  return parser;
}

/** DataRow: int16 count, then per field int32 length (-1: null) and the bytes. */
function dataRow(start: number, length: number, bytes: Buffer, binary: readonly boolean[]): BackendMessage {
  const count = bytes.readInt16BE(start);
  const fields = new Array<Buffer | string | null>(count);
  let at = start + 2;
  for (let i = 0; i < count; i++) {
    const size = bytes.readInt32BE(at);
    at += 4;
    if (size < 0) {
      fields[i] = null;
      continue;
    }
    fields[i] = binary[i] ? bytes.subarray(at, at + size) : bytes.toString('utf8', at, at + size);
    at += size;
  }
  return { name: 'dataRow', length, fields, fieldCount: count } as BackendMessage;
}
