/** A Postgres in a directory, for the time of a command: `embedded:./dir` where a URL may stand. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../postgres/embedded.js';
import { UsageError } from './exit.js';

const EMBEDDED = 'embedded:';

/**
 * The server in the directory that `url` names, started or joined; undefined: it names none. Throws where there is none yet: a
 * command that looks at what is stored must not answer a slip of the pen with a new, empty database.
 */
export async function serverOf(url: string | undefined): Promise<EmbeddedPostgres | undefined> {
  if (url === undefined || !url.startsWith(EMBEDDED)) return undefined;
  const directory = url.slice(EMBEDDED.length);
  if (!existsSync(join(directory, 'data', 'PG_VERSION'))) {
    throw new UsageError(
      `there is no Postgres in '${directory}': LoRAStorage.open({ postgres: '${url}' }) makes one; or is the path another one?`,
    );
  }
  return await startEmbeddedPostgres(directory);
}
