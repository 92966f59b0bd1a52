/** What a node may do in Redis: docs/redis.acl is the only list of it, here for the keys and the database of this one. */
import { readFileSync } from 'node:fs';
import type { RedisOptions } from 'ioredis';
import type { Cache } from '../audit-redis.js';

/** The same three levels up from src/operations/doctor and from dist/operations/doctor. */
const FILE = new URL('../../../docs/redis.acl', import.meta.url);

/** A command that gives the user exactly that, to be run by whoever may. */
export function grantAll(cache: Cache): string {
  const { host, port, path, username } = cache.client.options as RedisOptions;
  const command = `redis-cli ${path ? `-s ${quoted(path)}` : `-h ${host} -p ${port}`} ACL SETUSER`;
  const rules = rulesFor(cache).map(quoted).join(' ');
  // The user default is everybody's, and may be the only one who can give rights back.
  return (username ?? 'default') === 'default'
    ? `${command} lora on ">$LORA_REDIS_PASSWORD" ${rules} # then name this user in REDIS_URL`
    : `${command} ${quoted(username as string)} ${rules} # all that a node needs, and nothing else; then ACL SAVE`;
}

function rulesFor({ client, namespace }: Cache): string[] {
  const { keyPrefix = '', db = 0 } = client.options as RedisOptions;
  const begin = { '~': literal(`${keyPrefix}${namespace}:`), '&': literal(`${namespace}:`) };
  const rules = readFileSync(FILE, 'utf8')
    .trim()
    .split(/\s+/)
    .map((rule) => rule.replace(/^([~&])lora:/, (_, kind: '~' | '&') => `${kind}${begin[kind]}`));
  return db === 0 ? rules : [...rules, '+select'];
}

/** In a pattern, where some characters stand for others. */
function literal(text: string): string {
  return text.replace(/[*?[\]\\^]/g, '\\$&');
}

/** As a word of a shell. */
function quoted(word: string): string {
  return /^[\w+@:.-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
