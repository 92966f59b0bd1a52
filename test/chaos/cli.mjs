// The chaos run is written in TypeScript, and Vite, which the tests run on, is what makes Node understand it.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const { module } = await runnerImport(fileURLToPath(new URL('./main.ts', import.meta.url)), { logLevel: 'error' });
await module.main(process.argv);
// A connection that a killed server left half shut keeps nobody waiting.
process.exit();
