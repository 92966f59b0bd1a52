/** Where this project lies, for a file that also runs compiled to somewhere else below it, as the benches do. */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';

export const root = dirname(createRequire(import.meta.url).resolve('lora-store/package.json'));
