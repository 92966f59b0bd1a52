/** Bodies are of any size, and memory is not: what is fetched at once is bounded by its bytes. */

/** What a command may hold of bodies at a time, unless a single one is larger. */
const MAX_BYTES = 8 * 1024 * 1024;

/** `items` in order, at most `most` together, and no more than their bytes allow. */
export function* batches<Item>(
  items: readonly Item[],
  bytesOf: (item: Item) => number,
  most = Number.POSITIVE_INFINITY,
): Generator<Item[]> {
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = bytesOf(item);
    if (batch.length > 0 && (batch.length >= most || bytes + size > MAX_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(item);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
