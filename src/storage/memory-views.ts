/** The tier in memory as some loads are to see it: the steps of a load ask it as they ask the tier itself. */
import type { Held } from '../coherence/load.js';
import type { Entry } from '../tiers/entry.js';
import type { MemoryTier } from '../tiers/memory.js';

/** `memory`, in which nothing that was rounded can be seen. */
export function withoutRounded(memory: MemoryTier): Held<Entry> {
  return {
    get(userId, adapterName) {
      const entry = memory.get(userId, adapterName);
      return entry?.record?.rounded ? undefined : entry;
    },
    put: (key, entry) => memory.put(key, entry),
    dropBelow: (key, revision) => memory.dropBelow(key, revision),
    unverify: (key) => memory.unverify(key),
  };
}

/** `memory`, which takes only what it has room for. */
export function withoutDisplacing(memory: MemoryTier): Held<Entry> {
  return {
    get: (userId, adapterName) => memory.get(userId, adapterName),
    put(key, entry) {
      if (memory.hasRoom(key, entry)) memory.put(key, entry);
      else memory.dropBelow(key, entry.revision);
    },
    dropBelow: (key, revision) => memory.dropBelow(key, revision),
    unverify: (key) => memory.unverify(key),
  };
}
