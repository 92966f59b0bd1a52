// @ts-check
/**
 * Bytes: what Rust wrote is read, and written again to the last byte. Adapters of any shape are saved side by side; one
 * that the schema has no room for is refused before anything is sent.
 * @import { Nodes } from './nodes.js'
 */
import { decodeAdapter, encodeAdapter, InvalidAdapterError } from 'lora-store';
import { heading, say, table } from '../servers/print.js';
import { fixtures, recordOf } from './fixtures.js';

/** @param {Nodes} nodes */
export async function showRecords(nodes) {
  heading('Records that the Rust crate wrote: decoded, encoded again, saved');
  const node = await nodes.open();
  const rows = [];
  /** @type {string[]} */
  const refusals = [];
  for (const { file } of fixtures) {
    const bytes = recordOf(file);
    const adapter = decodeAdapter(bytes);
    const again = encodeAdapter(adapter);
    const saved = await node.saveAdapter(adapter).then(
      (version) => `version ${version}`,
      (error) => {
        if (!(error instanceof InvalidAdapterError)) throw error;
        refusals.push(`${file}: ${error.name}: ${error.message}.`);
        return error.name;
      },
    );
    const { rank, inputDim, outputDim, trainingIterations } = adapter;
    const same = again.equals(bytes) ? 'the same' : 'DIFFERENT';
    rows.push([file, bytes.length, `rank ${rank}, ${inputDim} → ${outputDim}`, trainingIterations, same, saved]);
  }
  table(['record', 'bytes', 'shape', 'iterations', 'encoded', 'saved'], rows);
  say(...refusals);
  await node.close();
}
