/**
 * How long a shared object of Linux says it is: up to the end of its last segment and of its tables, of which the one of
 * sections is the end of the file as linkers write it. The loaders of macOS and Windows compare for themselves.
 */

const MAGIC = 0x7f454c46;

/** Where in the header, and in each segment's, what stands; a word is a file offset or a size. */
interface Layout {
  readonly word: 4 | 8;
  readonly header: number;
  /** Offset of each table, and there where the size and the number of its entries are. */
  readonly segments: number;
  readonly segmentSize: number;
  readonly sections: number;
  readonly sectionSize: number;
  readonly offset: number;
  readonly size: number;
}

const ELF32: Layout = {
  word: 4,
  header: 52,
  segments: 28,
  segmentSize: 42,
  sections: 32,
  sectionSize: 46,
  offset: 4,
  size: 16,
};
const ELF64: Layout = {
  word: 8,
  header: 64,
  segments: 32,
  segmentSize: 54,
  sections: 40,
  sectionSize: 58,
  offset: 8,
  size: 32,
};

/** How many bytes it has to have; undefined where it is no ELF. What its headers would tell beyond its end is left out. */
export function elfBytes(content: Uint8Array): number | undefined {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  if (view.byteLength < 16 || view.getUint32(0) !== MAGIC) return undefined;
  const layout = view.getUint8(4) === 1 ? ELF32 : ELF64;
  if (view.byteLength < layout.header) return layout.header;
  const little = view.getUint8(5) === 1;
  const word = (at: number) => (layout.word === 4 ? view.getUint32(at, little) : Number(view.getBigUint64(at, little)));
  const half = (at: number) => view.getUint16(at, little);
  const segments = { at: word(layout.segments), each: half(layout.segmentSize), count: half(layout.segmentSize + 2) };
  const tables = [
    segments.at + segments.each * segments.count,
    word(layout.sections) + half(layout.sectionSize) * half(layout.sectionSize + 2),
  ];
  let end = Math.max(layout.header, ...tables);
  for (let i = 0; i < segments.count; i++) {
    const at = segments.at + i * segments.each;
    if (at + layout.size + layout.word > view.byteLength) break;
    end = Math.max(end, word(at + layout.offset) + word(at + layout.size));
  }
  return end;
}
