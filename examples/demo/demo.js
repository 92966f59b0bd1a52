// @ts-check
/**
 * npm start: the whole of the package on real servers, in a few seconds. Each file beside this one shows one thing;
 * this one gets the servers, runs the others in order, and leaves no process behind, also after Ctrl-C.
 */
import { codec } from 'lora-store';
import { Closing } from '../servers/closing.js';
import { getPostgres } from '../servers/postgres.js';
import { heading, say, table } from '../servers/print.js';
import { getRedis } from '../servers/redis.js';
import { showInvalidation } from './invalidation.js';
import { showLatency } from './latency.js';
import { showNames } from './names.js';
import { openNodes } from './nodes.js';
import { showRecords } from './records.js';
import { showTiers } from './tiers.js';
import { showVersions } from './versions.js';

const closing = new Closing();
closing.onSignals();

try {
  heading('Servers');
  const postgres = await getPostgres(closing);
  const redis = await getRedis(closing);
  const codecWords = codec.reason === undefined ? codec.kind : `${codec.kind}: ${codec.reason}`;
  table(
    [],
    [
      ['Postgres', postgres.words],
      ['Redis', redis.words],
      ['Codec', codecWords],
      ['Node', process.version],
    ],
  );

  const nodes = openNodes(closing, postgres.url, redis.url);
  await showRecords(nodes);
  await showTiers(nodes);
  await showVersions(nodes);
  await showNames(nodes);
  await showInvalidation(nodes);
  await showLatency(nodes);
  say('', `Done. What was saved stays ${postgres.stays}: a second run goes on from it.`);
} catch (error) {
  // After a signal everything is closed under the step that runs: what it says then is no news.
  if (!closing.begun) {
    console.error(`\ndemo: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
} finally {
  await closing.close();
}
