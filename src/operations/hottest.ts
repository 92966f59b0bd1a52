/** The adapters that were saved last: whoever trains now is about to ask. */
import { keyOf } from '../coherence/key.js';
import type { AdapterKey } from '../storage/types.js';
import { NEXT_SAVED } from './statements.js';
import type { Tables } from './tables.js';

/** At most `count`, each once, latest save first. Pages along the index of created_at, and as many as that takes. */
export async function* hottest(tables: Tables, count: number): AsyncGenerator<AdapterKey> {
  type Row = [userId: string, adapterName: string, createdAt: string, id: string];
  const seen = new Set<string>();
  let before: [createdAt: string | null, id: string | null] = [null, null];
  for (;;) {
    const page = await tables.rows<Row>(NEXT_SAVED, before);
    for (const [userId, adapterName] of page) {
      const { id } = keyOf(userId, adapterName);
      if (seen.has(id)) continue;
      if (seen.size >= count) return;
      seen.add(id);
      yield { userId, adapterName };
    }
    const last = page.at(-1);
    if (last === undefined || seen.size >= count) return;
    before = [last[2], last[3]];
  }
}
