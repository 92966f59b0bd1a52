/** The adapters that were saved last: whoever trains now is about to ask. */
import { keyOf } from '../coherence/key.js';
import type { AdapterKey } from '../storage/types.js';
import { NEXT_SAVED } from './statements/whole-tables.js';
import type { Tables } from './tables.js';

/** Before every row, but for one whose time, user, name and version are all the first there can be. */
const BEGINNING: [string, string, string, number] = [
  'infinity',
  '00000000-0000-0000-0000-000000000000',
  '',
  -(2 ** 31),
];

/** At most `count`, each once, latest save first. Pages along the index of created_at, and as many as that takes. */
export async function* hottest(tables: Tables, count: number): AsyncGenerator<AdapterKey> {
  type Row = [userId: string, adapterName: string, version: number, createdAt: string];
  const seen = new Set<string>();
  let after: [createdAt: string, userId: string, adapterName: string, version: number] = BEGINNING;
  for (;;) {
    const page = await tables.rows<Row>(NEXT_SAVED, after);
    for (const [userId, adapterName] of page) {
      const { id } = keyOf(userId, adapterName);
      if (seen.has(id)) continue;
      if (seen.size >= count) return;
      seen.add(id);
      yield { userId, adapterName };
    }
    const last = page.at(-1);
    if (last === undefined || seen.size >= count) return;
    const [userId, adapterName, version, createdAt] = last;
    after = [createdAt, userId, adapterName, version];
  }
}
