/** On what a run was made: nothing in a report can be compared with another one's without it. */
import type { Environment } from '../harness/results.js';
import { type Html, html } from './html.js';
import { table } from './table.js';
import { brief, bytes } from './units.js';

export function environmentSection(environment: Environment): Html {
  const rows = environmentRows(environment);
  return html`<section aria-labelledby="environment"><h2 id="environment">Environment</h2>
${table('The machine, the servers with the settings that matter, and the versions compared with', columns, rows)}</section>`;
}

const columns = [{ heading: 'what' }, { heading: 'which' }];

function environmentRows(environment: Environment): string[][] {
  const { cpu, cores, memoryBytes, kernel, node, codec, servers, versions, commit } = environment;
  return [
    ['CPU', `${cpu}, ${cores} cores`],
    ['memory', brief(bytes(memoryBytes))],
    ['kernel', kernel],
    ['Node', node],
    ['codec', codec],
    ...Object.entries(servers),
    ...Object.entries(versions),
    ['commit', commit],
  ];
}
