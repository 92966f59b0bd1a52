// Ways to break a node on purpose: the proof that the checker notices. Each breaks the real part that keeps the promise.
import { createRequire } from 'node:module';
import { UserLoRAAdapter } from 'lora-store';
import { Coherence } from '../../dist/coherence/head.js';

const pg = createRequire(import.meta.url)('pg');

const ways = {
  /** Whatever memory or Redis holds is served for ever. */
  counts(storage) {
    Coherence.prototype.counts = () => true;
    return storage;
  },
  /** Nothing heard, saved or answered keeps older readings out. */
  fence(storage) {
    Coherence.prototype.counts = () => true;
    Coherence.prototype.admits = () => true;
    Coherence.prototype.outdated = () => false;
    Coherence.prototype.raise = () => false;
    Coherence.prototype.show = () => false;
    return storage;
  },
  /** Some saves disappear again after they were acknowledged. */
  lose(storage, directUrl) {
    const pool = new pg.Pool({ connectionString: directUrl, max: 2, application_name: 'thief' });
    pool.on('error', () => undefined);
    const save = storage.saveAdapter.bind(storage);
    storage.saveAdapter = async (adapter, name, condition) => {
      const version = await save(adapter, name, condition);
      const text = 'delete from lora_adapters where user_id = $1 and adapter_name = $2 and version = $3';
      if (version % 2 === 0) await pool.query(text, [adapter.userId, name, version]).catch(() => undefined);
      return version;
    };
    return storage;
  },
  /** Some loads answer with one bit flipped. */
  flip(storage) {
    const flip = (base) => {
      base[7] += 2 ** -24;
    };
    return altering(storage, (adapter) => adapter.updateWeights(flip));
  },
  /** Some loads answer with what was loaded for somebody else. */
  mix(storage) {
    let other;
    return altering(storage, (adapter) => {
      const answer = other ?? adapter;
      other = adapter;
      return answer;
    });
  },
};

/** way: undefined breaks nothing. */
export function breakOnPurpose(way, storage, directUrl) {
  return way === undefined ? storage : ways[way](storage, directUrl);
}

function altering(storage, alter) {
  const load = storage.loadAdapterInfo.bind(storage);
  let calls = 0;
  storage.loadAdapterInfo = async (...args) => {
    const loaded = await load(...args);
    if (++calls % 20 !== 0 || !(loaded.adapter instanceof UserLoRAAdapter)) return loaded;
    return { ...loaded, adapter: alter(loaded.adapter) };
  };
  return storage;
}
