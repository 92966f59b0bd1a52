// @ts-check
/** The environment, read once. What is not a number where one belongs is refused by name. DATABASE_URL and REDIS_URL are the package's. */

/** @param {NodeJS.ProcessEnv} env */
export function settings(env) {
  return {
    host: env.HOST || '127.0.0.1',
    port: whole(env, 'PORT', 8080),
    token: env.LORA_STORE_API_TOKEN || undefined,
    name: env.NODE_NAME || undefined,
    logLevel: env.LOG_LEVEL || 'info',
    namespace: env.LORA_STORE_NAMESPACE || 'lora',
    redisTimeoutMs: whole(env, 'REDIS_TIMEOUT_MS', 50),
    requestsPerSecond: whole(env, 'REQUESTS_PER_SECOND', 1000),
    catalogueTimeoutMs: whole(env, 'CATALOGUE_TIMEOUT_MS', 3000),
    drainMs: whole(env, 'DRAIN_MS', 0),
    shutdownMs: whole(env, 'SHUTDOWN_MS', 20_000),
  };
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} name
 * @param {number} fallback
 */
function whole(env, name, fallback) {
  const text = env[name] ?? '';
  if (text === '') return fallback;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Error(`${name} is a whole number, not '${text}'`);
}
