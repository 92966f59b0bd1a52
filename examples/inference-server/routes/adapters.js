// @ts-check
/**
 * /v1/users/:id/adapters: what is stored of a user, as JSON about it or, with accept: application/octet-stream, as the
 * record itself (bincode, docs/format.md); deleting it, and going back to an old version.
 * @import { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
 * @import { LoRAStorage, UserLoRAAdapter } from 'lora-store'
 * @import { IsGone } from '../forgetting.js'
 * @import { Load, Observe } from '../observing.js'
 * @import { TrainingQueue } from '../training-queue.js'
 */
import { AdapterNotFoundError, encodeAdapter } from 'lora-store';
import * as schemas from '../schemas.js';

const OCTETS = 'application/octet-stream';

/**
 * @param {FastifyInstance} app
 * @param {{ storage: LoRAStorage, load: Load, queue: TrainingQueue, isGone: IsGone, observe: Observe }} parts
 */
export function adapterRoutes(app, { storage, load, queue, isGone, observe }) {
  const user = '/v1/users/:id/adapters';
  const adapter = `${user}/:name`;
  const version = `${adapter}/versions/:version`;
  const schemaOf = (/** @type {object} */ params, /** @type {object} */ answer) => ({
    schema: { params, querystring: schemas.noQuery, response: schemas.answers({ 200: answer }) },
  });
  const { userParams, adapterParams, versionParams, deleted } = schemas;
  const erasePart = (/** @type {string} */ id, /** @type {() => Promise<number>} */ erase) =>
    queue.forgetting.forgetIfLast(id.toLowerCase(), erase, isGone);

  app.get(user, schemaOf(userParams, schemas.listed), async (request) => {
    const rows = await storage.listAdapters(paramsOf(request).id);
    return { adapters: rows.map(({ adapterName, ...row }) => ({ name: adapterName, ...row })) };
  });

  app.delete(user, schemaOf(userParams, deleted), async (request) => {
    const { id } = paramsOf(request);
    // What waits to be trained on would bring the user back, and so would what comes meanwhile.
    return { deleted: await queue.forgetting.forget(id.toLowerCase(), () => storage.forgetUser(id)) };
  });

  app.get(adapter, schemaOf(adapterParams, octetsOr(schemas.latest)), async (request, reply) => {
    const { id, name } = paramsOf(request);
    const octets = wantsOctets(request);
    // A record is what was saved, not what Redis has of it in half precision.
    const loaded = await load(id, name, octets ? { exact: true } : undefined);
    reply.header('etag', `"${loaded.revision}"`);
    if (octets) return sendRecord(reply, loaded.adapter, loaded.version);
    const { adapter, ...info } = loaded;
    return { name, ...info, ...about(adapter) };
  });

  app.delete(adapter, schemaOf(adapterParams, deleted), async (request) => {
    const { id, name } = paramsOf(request);
    const rows = await erasePart(id, () => storage.deleteAdapter(id, name));
    if (rows === 0) throw new AdapterNotFoundError(id, name);
    return { deleted: rows };
  });

  app.get(version, schemaOf(versionParams, octetsOr(schemas.oldVersion)), async (request, reply) => {
    const { id, name, version } = paramsOf(request);
    const adapter = await storage.loadAdapterVersion(id, name, version);
    if (wantsOctets(request)) return sendRecord(reply, adapter, version);
    return { name, version, ...about(adapter) };
  });

  app.delete(version, schemaOf(versionParams, deleted), async (request) => {
    const { id, name, version } = paramsOf(request);
    const rows = await erasePart(id, async () => Number(await storage.deleteAdapterVersion(id, name, version)));
    if (rows === 0) throw new AdapterNotFoundError(id, name, version);
    return { deleted: rows };
  });

  const rollback = {
    schema: { ...schemaOf(adapterParams, schemas.rolledBack).schema, body: schemas.rollbackBody },
  };
  app.post(`${adapter}/rollback`, rollback, async (request) => {
    const { id, name } = paramsOf(request);
    const body = /** @type {{ version: number }} */ (request.body);
    const version = await storage.rollbackAdapter(id, name, body.version);
    observe({ type: 'rolledBack', userId: id, version });
    return { version };
  });
}

/** @param {FastifyRequest} request */
function paramsOf(request) {
  const { id, name = '', version } = /** @type {{ id: string, name?: string, version?: string }} */ (request.params);
  return { id, name, version: Number(version) };
}

/** @param {FastifyRequest} request */
function wantsOctets(request) {
  return (request.headers.accept ?? '').includes(OCTETS);
}

/** @param {object} json */
function octetsOr(json) {
  return {
    content: { 'application/json': { schema: json }, [OCTETS]: { schema: { type: 'string', format: 'binary' } } },
  };
}

/**
 * @param {FastifyReply} reply
 * @param {UserLoRAAdapter} adapter
 * @param {number} version
 */
function sendRecord(reply, adapter, version) {
  return reply.type(OCTETS).header('lora-version', version).send(encodeAdapter(adapter));
}

/** @param {UserLoRAAdapter} adapter */
function about({ rank, inputDim, outputDim, trainingIterations, lastTrainedTime }) {
  return { rank, inputDim, outputDim, trainingIterations, lastTrainedTime: lastTrainedTime.toISOString() };
}
