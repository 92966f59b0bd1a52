/** The slot of a key in a Redis Cluster, 0 to 16383: by the package that ioredis itself takes, which brings no types. */
import { createRequire } from 'node:module';

export const slotOf: (key: string) => number = createRequire(import.meta.url)('cluster-key-slot');
