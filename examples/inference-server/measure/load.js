// @ts-check
/** A process that asks: node load.js <url> <path> <seconds> <users> <body>. ':id' in the path is a user, each as likely as another. */
import autocannon from 'autocannon';
import { userAt } from './users.js';

const CONNECTIONS = 10;
const [url = '', path = '', seconds, users, body] = process.argv.slice(2);

/** @type {import('autocannon').Request} */
const request = path.includes(':id')
  ? {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      setupRequest: (one) => ({ ...one, path: path.replace(':id', userAt(Math.floor(Math.random() * Number(users)))) }),
    }
  : { path };
const { requests, latency, errors, non2xx } = await autocannon({
  url,
  connections: CONNECTIONS,
  duration: Number(seconds),
  requests: [request],
});
if (errors + non2xx > 0) throw new Error(`${errors} requests failed, ${non2xx} were refused`);
console.log(JSON.stringify({ perSecond: requests.average, p50: latency.p50, p99: latency.p99 }));
