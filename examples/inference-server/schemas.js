// @ts-check
/** What requests and answers look like. What a schema does not name is refused on the way in, and left out on the way out. */
import { PROBLEM_JSON } from './problems.js';

const UUID = '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$';

const id = { type: 'string', pattern: UUID };
// What Postgres can store as text: no NUL, and no half of a surrogate pair.
const name = { type: 'string', minLength: 1, maxLength: 100, pattern: '^[^\\0\\p{Surrogate}]*$' };
const contentId = { type: 'string', minLength: 1, maxLength: 200 };
const count = { type: 'integer', minimum: 0 };
const number = { type: 'number' };
const string = { type: 'string' };
const nullable = (/** @type {object} */ schema) => ({ anyOf: [schema, { type: 'null' }] });

/** @param {Record<string, object>} properties @param {string[]} [required] All of them, if not given. */
export function object(properties, required = Object.keys(properties)) {
  return { type: 'object', additionalProperties: false, required, properties };
}

/** Of every query: none takes one. */
export const noQuery = object({});

// In a URL everything is text.
const version = { type: 'string', pattern: '^[1-9][0-9]{0,9}$' };
export const userParams = object({ id });
export const adapterParams = object({ id, name });
export const versionParams = object({ id, name, version });

export const rankBody = object(
  { candidates: { type: 'array', minItems: 1, maxItems: 1000, items: contentId }, adapterName: name },
  ['candidates'],
);

const event = object(
  {
    contentId,
    completionRate: { type: 'number', minimum: 0, maximum: 1 },
    rating: { type: 'number', minimum: 1, maximum: 5 },
    isRewatch: { type: 'boolean' },
  },
  ['contentId', 'completionRate'],
);
export const eventsBody = object(
  { events: { type: 'array', minItems: 1, maxItems: 1000, items: event }, adapterName: name },
  ['events'],
);
export const rollbackBody = object({ version: { type: 'integer', minimum: 1, maximum: 2 ** 31 - 1 } });

const loaded = {
  name: string,
  version: count,
  revision: number,
  tier: { type: 'string', enum: ['memory', 'redis', 'postgres'] },
  stale: { type: 'boolean' },
  verifiedAgeMs: number,
};
const shape = { rank: count, inputDim: count, outputDim: count, trainingIterations: count, lastTrainedTime: string };

export const ranking = object({
  ranked: { type: 'array', items: object({ id: string, score: number }) },
  adapter: nullable(object(loaded)),
  fallback: nullable(string),
});
export const accepted = object({ accepted: count, waiting: count });
export const latest = object({ ...loaded, ...shape });
export const oldVersion = object({ name: string, version: count, ...shape });
export const listed = object({
  adapters: {
    type: 'array',
    items: object({
      name: string,
      version: count,
      sizeBytes: count,
      trainingIterations: count,
      createdAt: string,
      updatedAt: string,
    }),
  },
});
export const deleted = object({ deleted: count });
export const rolledBack = object({ version: count });
export const alive = object({ status: string });
export const ready = object({ status: string, postgres: string, redis: string, bus: string, changeFeed: string });

const problem = {
  type: 'object',
  additionalProperties: true,
  required: ['type', 'title', 'status', 'detail'],
  properties: { type: string, title: string, status: count, detail: string },
};
const problems = { content: { [PROBLEM_JSON]: { schema: problem } } };

/** Answers of a route: its own, and problems. @param {Record<number, object>} own */
export function answers(own) {
  return { ...own, '4xx': problems, '5xx': problems };
}
