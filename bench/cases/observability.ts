/**
 * What a hit in memory pays for being told of, while nobody listens: methods of one class over the same entries, which
 * differ in the look for listeners alone. Two storages would not do: where V8 and malloc happened to put their entries made
 * two that are alike differ by a fifth.
 */
import { compileFunction } from 'node:vm';
import { LoRAStorage, type UserLoRAAdapter } from 'lora-store';
import { isAdapter, savedAdapters } from '../harness/adapters.js';
import type { Bench, Case } from '../harness/bench.js';
import { replaced, variant } from '../harness/variant.js';

const MODULE = 'storage/lora-storage.js';
const LOOK = '(loads.hasSubscribers ? parts.telling : parts.loader)';

/** Behind the name of a method. Also the one that looks is a twin of it: the method itself has seen more than hits. */
const [LOOKING, CONTROL, BLIND] = ['Looking', 'LookingToo', 'Blind'];
const TWINS = [LOOKING, CONTROL, BLIND];

export default {
  question: 'What does a hit in memory pay for being observable, while nobody observes?',
  async run(bench) {
    const { url } = await bench.servers.postgres();
    const options = { postgres: url, redis: false, createMissingUsers: true, maxStalenessMs: 30_000 } as const;
    const saving = await LoRAStorage.open(options);
    const adapters = await savedAdapters(saving, bench.quick ? 64 : 256);
    await saving.close();
    const copy = await variant(MODULE, withTwins);
    const storage = await copy.LoRAStorage.open(options);
    try {
      for (const { userId } of adapters) await storage.loadAdapter(userId);
      const awaited = await contest(bench, 'loadAdapter', storage, adapters);
      bench.target('memory hit that looks for subscribers / the same without the look', '<=', 1.03, awaited);
      await contest(bench, 'peekAdapter', storage, adapters);
    } finally {
      await storage.close();
    }
    bench.note(`“${CONTROL}” does what “${LOOKING}” does: what they differ by is not the look.`);
  },
} satisfies Case;

/** Of looking to not looking. */
async function contest(bench: Bench, method: string, storage: LoRAStorage, adapters: readonly UserLoRAAdapter[]) {
  const users = adapters.map(({ userId }) => userId);
  const { ratio } = await bench.compare({
    group: `hit, ${method}`,
    awaited: 'batches',
    sides: TWINS.map((twin) => ({
      name: `${method}${twin}`,
      run: hitsIn(storage, `${method}${twin}`, users),
      check: isAdapter(adapters[0] as UserLoRAAdapter),
    })),
    seconds: 0.45 * bench.seconds,
  });
  ratio(`${method}${CONTROL}`, `${method}${BLIND}`);
  ratio(`${method}${CONTROL}`, `${method}${LOOKING}`);
  return ratio(`${method}${LOOKING}`, `${method}${BLIND}`);
}

/** Compiled for this method alone: one that all shared would be compiled for none. users: as many as a power of two. */
function hitsIn(storage: LoRAStorage, method: string, users: readonly string[]): () => unknown {
  const body = `let i = -1; return () => storage.${method}(users[(i = (i + 1) & mask)]);`;
  return compileFunction(body, ['storage', 'users', 'mask'])(storage, users, users.length - 1);
}

/** LoRAStorage with twins of what a hit goes through. */
function withTwins(source: string): string {
  const [load, peek, hit] = ['loadAdapter', 'peekAdapter', '#hit'].map((name) => methodOf(source, name)) as [
    string,
    string,
    string,
  ];
  const twins = TWINS.map((twin) => {
    const looks = twin === BLIND ? replaced(hit, LOOK, 'parts.loader') : hit;
    return [load, peek, looks].join('').replaceAll(/(loadAdapter|peekAdapter|#hit)\(/g, `$1${twin}(`);
  });
  return replaced(source, load, [load, ...twins].join(''));
}

function methodOf(source: string, name: string): string {
  const [method] = new RegExp(`^    ${name}\\(.*?^    }\\n`, 'ms').exec(source) ?? [];
  if (method === undefined) throw new Error(`dist/${MODULE} has no method ${name}`);
  return method;
}
