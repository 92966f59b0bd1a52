/** What a node says of a tier, in the order in which it says it. */
import type { Tier } from '../../../src/storage/events.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';

export function toldOf(node: LoRAStorage, tier: Tier): ('degraded' | 'recovered')[] {
  const told: ('degraded' | 'recovered')[] = [];
  for (const event of ['degraded', 'recovered'] as const) {
    node.on(event, (what) => what.tier === tier && told.push(event));
  }
  return told;
}
