/**
 * Servers in Docker, through testcontainers. Command, user and settings are given in full, so that the official images
 * work and so does any image that merely has the binaries, such as the one that docker/prove.sh makes.
 *
 * testcontainers' reaper (Ryuk) removes the containers of a process that was killed. Where it is disabled, the label
 * of the run is how they are found.
 */
import { spawn } from 'node:child_process';
import type { StartedTestContainer } from 'testcontainers';
import { waitFor } from '../wait.js';
import { greetPostgres, postgresTestSettings, settingsAsArguments } from './local-postgres.js';
import { greetRedis, redisArguments, redisTestSettings } from './local-redis.js';
import { freePort, lostTheRace } from './ports.js';
import {
  type ContainerRecipe,
  type OwnServer,
  postgresLogin,
  postgresUrl,
  redisUrlAt,
  type ServerSettings,
} from './server.js';

export const runLabel = 'lora-store.test.run';

/** What runs inside a container, and how a client outside finds out that it does. */
interface Service {
  readonly port: number;
  readonly user: string;
  readonly command: readonly string[];
  url(port: number, host: string): string;
  greet(url: string): Promise<void>;
}

/** Makes the cluster once: the container keeps it when it is killed and started again. $0 is the password. */
const initialiseAndServe = `
PATH="$PATH:$(echo /usr/lib/postgresql/*/bin)"
if [ ! -s /tmp/data/PG_VERSION ]; then
  echo "$0" >/tmp/password
  initdb --pgdata /tmp/data --username ${postgresLogin.user} --pwfile /tmp/password --auth scram-sha-256 \\
    --encoding UTF8 --no-locale --no-sync &&
  echo "host all all all scram-sha-256" >>/tmp/data/pg_hba.conf || exit 1
fi
exec postgres -D /tmp/data "$@"`;

export function startPostgresContainer(recipe: ContainerRecipe, settings: ServerSettings = {}): Promise<OwnServer> {
  const given = { ...postgresTestSettings, listen_addresses: '*', ...settings };
  return startContainer(recipe, {
    port: 5432,
    user: 'postgres',
    command: ['sh', '-c', initialiseAndServe, postgresLogin.password, ...settingsAsArguments(given)],
    url: postgresUrl,
    greet: greetPostgres,
  });
}

export function startRedisContainer(recipe: ContainerRecipe, settings: ServerSettings = {}): Promise<OwnServer> {
  const given = { ...redisTestSettings, bind: '0.0.0.0', 'protected-mode': 'no', ...settings };
  return startContainer(recipe, {
    port: 6379,
    user: 'root',
    command: ['redis-server', ...redisArguments(given)],
    url: redisUrlAt,
    greet: greetRedis,
  });
}

/**
 * After the death of this process, however it comes, the run's containers end too: the same trick as in janitor.sh. It
 * needs the docker command; where that is absent, Ryuk must not be disabled.
 */
export function guardContainersOf(run: string): void {
  const script = `cat >/dev/null; docker ps --all --quiet --filter "label=$0" | xargs -r docker rm --force --volumes`;
  const guard = spawn('/bin/sh', ['-c', script, `${runLabel}=${run}`], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.on('error', () => {}); // no /bin/sh, no guard
  guard.unref();
}

/** Removes what test files of this run left behind. */
export async function removeContainersOf(run: string): Promise<void> {
  const { container } = await runtime();
  const left = await container.dockerode.listContainers({ all: true, filters: { label: [`${runLabel}=${run}`] } });
  await Promise.all(left.map(({ Id }) => container.getById(Id).remove({ force: true, v: true })));
}

async function startContainer(recipe: ContainerRecipe, service: Service): Promise<OwnServer> {
  const { container, port } = await startOnFreePort(recipe, service);
  const host = container.getHost() === 'localhost' ? '127.0.0.1' : container.getHost();
  const url = service.url(port, host);
  const handle = (await runtime()).container.getById(container.getId());
  const answers = () =>
    waitFor(() => service.greet(url).then(() => true), {
      timeoutMs: 60_000,
      what: `${recipe.image} to answer at port ${port}`,
    });
  const isRunning = async () => (await handle.inspect()).State.Running;
  let stopped = false;
  const server: OwnServer = {
    url,
    port,
    async stop() {
      if (stopped) return;
      stopped = true;
      await handle.remove({ force: true, v: true });
    },
    async kill() {
      if (await isRunning()) await handle.kill({ signal: 'SIGKILL' });
      await waitFor(async () => !(await isRunning()), { what: `the end of a killed ${recipe.image}` });
    },
    async restart() {
      await server.kill();
      await handle.start();
      await answers();
    },
    pause: async () => void (await handle.pause()),
    resume: async () => void (await handle.unpause()),
  };
  try {
    await answers();
    return server;
  } catch (error) {
    const log = (await handle.logs({ stdout: true, stderr: true, tail: 20 })).toString('utf8');
    await server.stop();
    throw new Error(`${recipe.image} did not serve: ${log}`, { cause: error });
  }
}

/** The host's port is fixed and not left to Docker, which would give another one after a restart. */
async function startOnFreePort(
  { image, run }: ContainerRecipe,
  service: Service,
): Promise<{ container: StartedTestContainer; port: number }> {
  const { GenericContainer, Wait } = await import('testcontainers');
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    try {
      const [executable = '', ...rest] = service.command;
      const container = await new GenericContainer(image)
        .withEntrypoint([executable])
        .withCommand(rest)
        .withUser(service.user)
        .withExposedPorts({ container: service.port, host: port })
        .withLabels({ [runLabel]: run })
        .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/i))
        .withStartupTimeout(120_000)
        .start();
      return { container, port };
    } catch (error) {
      if (attempt === 5 || !lostTheRace(String(error))) throw error;
    }
  }
}

async function runtime() {
  const { getContainerRuntimeClient } = await import('testcontainers');
  return await getContainerRuntimeClient();
}

/** Rejects when no Docker engine answers. */
export async function requireDocker(): Promise<void> {
  await runtime();
}
