// The run under the sanitizers is written in TypeScript, and Vite, which the tests run on, is what makes Node understand it.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const { module } = await runnerImport(fileURLToPath(new URL('./main.ts', import.meta.url)), { logLevel: 'error' });
await module.main(process.argv);
