/**
 * The header of a safetensors file. What it promises is used only after all of it is known to be true, and nothing is
 * allocated for what a hostile one says.
 */

/** Bytes of one number. */
export const DTYPE_BYTES: Record<string, number> = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, I16: 2, U16: 2, F16: 2, BF16: 2 },
  ...{ I32: 4, U32: 4, F32: 4, I64: 8, U64: 8, F64: 8 },
};

/** A file that is no safetensors, or none that can be read here; the message says what is wrong with it. */
export class SafetensorsError extends Error {}

export interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Behind the header. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** dataBytes: how many bytes follow the header. */
export function parseHeader(header: Buffer, dataBytes: number): Header {
  const json = jsonOf(header);
  const tensors = new Map<string, Tensor>();
  let metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = metadataOf(value);
    else tensors.set(name, tensorOf(name, value));
  }
  refuseHoles(tensors, dataBytes);
  return { tensors, metadata };
}

function jsonOf(header: Buffer): object {
  if (header[0] !== 0x7b) throw new SafetensorsError("the header does not begin with '{'");
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(header);
    json = JSON.parse(text);
  } catch (cause) {
    throw new SafetensorsError('the header is no JSON in UTF-8', { cause });
  }
  refuseTwins(text);
  return json as object;
}

/** JSON.parse takes the last of several keys of one name, where another reader takes the first. The text is valid JSON. */
function refuseTwins(text: string): void {
  const open: Set<string>[] = [];
  for (const [token, string, colon] of text.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (string !== undefined && colon !== undefined) {
      const names = open.at(-1) as Set<string>;
      const name: string = JSON.parse(string);
      if (names.has(name)) throw new SafetensorsError(`the header has ${string.slice(0, 200)} twice`);
      names.add(name);
    }
  }
}

function metadataOf(value: unknown): Map<string, string> {
  const entries = isObject(value) ? Object.entries(value) : undefined;
  if (entries === undefined || entries.some(([, text]) => typeof text !== 'string')) {
    throw new SafetensorsError('__metadata__ maps strings to strings');
  }
  return new Map(entries as [string, string][]);
}

function tensorOf(name: string, value: unknown): Tensor {
  const refuse = (what: string): never => {
    throw new SafetensorsError(`tensor ${JSON.stringify(name.slice(0, 200))}: ${what}`);
  };
  const {
    dtype,
    shape,
    data_offsets: offsets,
    ...rest
  } = isObject(value) ? value : refuse('it is described by no object');
  if (Object.keys(rest).length > 0) refuse(`it has fields besides dtype, shape and data_offsets`);
  const width =
    typeof dtype === 'string' && Object.hasOwn(DTYPE_BYTES, dtype)
      ? (DTYPE_BYTES[dtype] as number)
      : refuse('unknown dtype');
  if (!areWhole(shape)) return refuse('its shape is no list of whole numbers');
  if (!areWhole(offsets) || offsets.length !== 2) return refuse('its data_offsets are no two whole numbers');
  const [begin = 0, end = 0] = offsets;
  const bytes = shape.reduce((product, length) => product * length, width);
  if (!Number.isSafeInteger(bytes)) refuse('its shape is too large');
  if (end - begin !== bytes) refuse(`its shape takes ${bytes} bytes, and its data_offsets are ${end - begin} apart`);
  return { dtype: dtype as string, shape, begin, end };
}

/** Every byte belongs to one tensor: nothing hides between them, and none shares another's. */
function refuseHoles(tensors: ReadonlyMap<string, Tensor>, dataBytes: number): void {
  let at = 0;
  for (const [name, { begin, end }] of [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== at) {
      const what = begin < at ? 'overlaps another' : 'leaves a hole before it';
      throw new SafetensorsError(`tensor ${JSON.stringify(name.slice(0, 200))} ${what}, at byte ${begin}`);
    }
    at = end;
  }
  if (at !== dataBytes) throw new SafetensorsError(`the tensors take ${at} bytes, and ${dataBytes} follow the header`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function areWhole(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((number) => Number.isSafeInteger(number) && number >= 0);
}
