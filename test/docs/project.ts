/**
 * The project of somebody who follows a page: an empty directory where the package and everything that may be installed
 * beside it are installed, a database and a Redis of its own.
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createDatabase } from '../support/database.js';
import { manifest } from '../support/package.js';
import { startRedis } from '../support/redis.js';
import { root } from '../support/root.js';
import { postgresClients } from '../support/servers/apt-psql.js';

export interface Project {
  readonly directory: string;
  run(program: string, args: readonly string[]): Promise<Outcome>;
  /** The same, with these variables. */
  with(env: Readonly<Record<string, string>>): Project;
  remove(): Promise<void>;
}

export interface Outcome {
  /** Exit code, or the signal that ended it. */
  readonly ended: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export async function createProject(template: 'empty' | 'migrated'): Promise<Project> {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'lora-store-page-')));
  // Open to whoever would run Postgres where the tests run as root.
  chmodSync(directory, 0o755);
  const clients = await postgresClients(join(root, '.cache'));
  const [database, redis] = await Promise.all([createDatabase({ template }), startRedis()]);
  installInto(directory);
  // Pages name files as they lie in the package and in a clone.
  for (const name of ['docs', 'migrations']) symlinkSync(join(root, name), join(directory, name));
  // What the pages start is the reader's own server. This one loads, and ends.
  writeFileSync(
    join(directory, 'server.js'),
    `import { LoRAStorage } from 'lora-store';
     const storage = await LoRAStorage.open();
     await storage.getStorageStats();
     await storage.close();`,
  );
  const env = {
    PATH: [clients.directory, process.env.PATH].join(delimiter),
    ...(clients.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: clients.libraryPath }),
    HOME: directory,
    LANG: 'C.UTF-8',
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    // What is not installed here is not fetched either.
    npm_config_offline: 'true',
    npm_config_update_notifier: 'false',
  };
  const remove = async () => {
    await Promise.all([database.drop(), redis.stop()]);
    rmSync(directory, { recursive: true, force: true });
  };
  return projectWith(directory, env, remove);
}

function projectWith(directory: string, env: NodeJS.ProcessEnv, remove: () => Promise<void>): Project {
  return {
    directory,
    run: (program, args) =>
      new Promise((resolve) => {
        const settings = { cwd: directory, env, timeout: 50_000 };
        const child = execFile(program, args, settings, (_, stdout, stderr) => {
          resolve({ ended: child.exitCode ?? child.signalCode ?? 'never begun', stdout, stderr });
        });
        child.stdin?.end();
      }),
    with: (more) => projectWith(directory, { ...env, ...more }, remove),
    remove,
  };
}

function installInto(directory: string): void {
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }\n');
  const modules = join(directory, 'node_modules');
  mkdirSync(modules);
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  symlinkSync(root, join(modules, manifest.name));
  mkdirSync(join(modules, '.bin'));
  for (const [command, file] of Object.entries<string>(manifest.bin)) {
    // Not a link: npm makes its target executable, and this one is the project's.
    const script = `#!/bin/sh\nexec '${process.execPath}' '${join(root, file)}' "$@"\n`;
    writeFileSync(join(modules, '.bin', command), script, { mode: 0o755 });
  }
}
