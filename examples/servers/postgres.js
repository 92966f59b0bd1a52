// @ts-check
/**
 * A Postgres with the schema: the one DATABASE_URL names, or a private one whose programs npm installed, in .demo/ or
 * where LORA_STORE_DEMO_DIR says.
 * @import { Closing } from './closing.js'
 */
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { migrate, StorageUnavailableError } from 'lora-store';
import { startEmbeddedPostgres } from 'lora-store/embedded';
import pg from 'pg';
import { say } from './print.js';

const project = fileURLToPath(new URL('../..', import.meta.url));

/** @param {Closing} closing */
export async function getPostgres(closing) {
  const given = process.env.DATABASE_URL;
  const { url, where, stays } = given
    ? { url: given, where: 'named by DATABASE_URL', stays: 'in the database that DATABASE_URL names' }
    : await startOne(closing);
  const applied = await migrate({ postgres: url });
  const schema = applied.length === 0 ? 'schema up to date' : `applied ${applied.join(', ')}`;
  return { url, stays, words: `${await version(url)}, ${where}; ${schema}` };
}

/** @param {Closing} closing */
async function startOne(closing) {
  const directory = join(resolve(process.env.LORA_STORE_DEMO_DIR || join(project, '.demo')), 'postgres');
  try {
    return await startIn(directory, closing);
  } catch (error) {
    if (!(error instanceof StorageUnavailableError) || closing.begun) throw error;
    // As root in a clone that only root may enter: the server runs as somebody else, who needs a way in.
    const clone = createHash('sha256').update(project).digest('hex').slice(0, 8);
    const elsewhere = join(tmpdir(), `lora-store-demo-${clone}`, 'postgres');
    const server = await startIn(elsewhere, closing).catch(() => {
      throw error;
    });
    say(`${error.message}.`, `So the demo keeps its data in ${elsewhere} instead.`);
    return server;
  }
}

/**
 * @param {string} directory
 * @param {Closing} closing
 */
async function startIn(directory, closing) {
  const starting = startEmbeddedPostgres(directory);
  // Before it is awaited: Ctrl-C may come while it starts. What failed to start needs no stop.
  closing.add(() =>
    starting.then(
      (server) => server.stop(),
      () => undefined,
    ),
  );
  const { url } = await starting;
  const shown = directory.startsWith(project) ? relative(project, directory) : directory;
  return { url, where: `embedded, in ${shown}`, stays: `in ${shown}` };
}

/** @param {string} url */
async function version(url) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query('show server_version');
    return rows[0].server_version.split(' ')[0];
  } finally {
    await client.end();
  }
}
