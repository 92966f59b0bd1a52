// @ts-check
/**
 * Invalidation: what one node saves or deletes, another one that holds the old version in memory hears of at once.
 * @import { Nodes } from './nodes.js'
 */
import { AdapterNotFoundError, UserLoRAAdapter } from 'lora-store';
import { heading, ms, say } from '../servers/print.js';
import { hear } from './hear.js';

const USER = '00000000-0000-4000-8000-00000000000a';

/** @param {Nodes} nodes */
export async function showInvalidation(nodes) {
  heading('Two nodes, one adapter');
  const [a, b] = await Promise.all([nodes.open(), nodes.open()]);

  const before = await a.saveAdapter(new UserLoRAAdapter(USER).initializeRandom(1));
  await b.loadAdapter(USER);
  const held = await b.loadAdapterInfo(USER);
  say(`A saved version ${before}; B holds version ${held.version} in ${held.tier}`);

  const begun = performance.now();
  const hearing = hear(b, USER, 'default');
  const after = await a.saveAdapter(new UserLoRAAdapter(USER).initializeRandom(2));
  const took = performance.now() - begun;
  const heard = await hearing;
  const news =
    heard === undefined ? 'B was not told' : `B heard of it ${ms(heard.at - begun)} after that call, by ${heard.via}`;
  const now = await b.loadAdapterInfo(USER);
  say(`A saved version ${after} in ${ms(took)}; ${news}`, `B loads version ${now.version}, from ${now.tier}`);

  const hearingAgain = hear(b, USER, 'default');
  const deleted = await a.deleteAdapter(USER);
  await hearingAgain;
  const gone = await b.loadAdapter(USER).catch((error) => error);
  if (!(gone instanceof AdapterNotFoundError)) throw new Error('deleted, and still there', { cause: gone });
  say(`A deleted ${deleted} versions; B: ${gone.name}: ${gone.message}`);
  await Promise.all([a.close(), b.close()]);
}
