// One node of the chaos run: a program over the built package, which does what it is told and stamps when.
import { LoRAStorage } from 'lora-store';
import { LoadSteps } from '../../dist/coherence/load.js';
import { bodyOf, readBody } from './bodies.mjs';
import { breakOnPurpose } from './broken.mjs';

// How often something was served unverified, for the calls whose answer does not say so.
let servedStale = 0;
const unavailable = LoadSteps.prototype.postgresUnavailable;
LoadSteps.prototype.postgresUnavailable = function (now) {
  const served = unavailable.call(this, now);
  if (served !== undefined) servedStale++;
  return served;
};

const { storage: options, directUrl, broken } = JSON.parse(process.env.CHAOS_NODE);
const storage = breakOnPurpose(broken, await LoRAStorage.open(options), directUrl);

/** CLOCK_MONOTONIC: the same in every process of this machine. */
const now = () => Number(process.hrtime.bigint()) / 1e6;

const operations = {
  async load({ userId, name }) {
    try {
      const { adapter, version, revision, stale } = await storage.loadAdapterInfo(userId, name);
      return { found: [{ body: readBody(adapter), version, revision }], stale };
    } catch (error) {
      return { found: [absence(error)] };
    }
  },
  async loadMany({ keys }) {
    const loaded = await storage.loadAdapters(keys.map(({ userId, name }) => ({ userId, adapterName: name })));
    return { found: loaded.map(described) };
  },
  async peek({ userId, name }) {
    const adapter = storage.peekAdapter(userId, name);
    return { found: adapter === undefined ? [] : [described(adapter)], stale: false };
  },
  async save({ userId, name, write, expectedVersion }) {
    const condition = expectedVersion === undefined ? {} : { expectedVersion };
    return { version: await storage.saveAdapter(bodyOf(userId, name, write), name, condition) };
  },
  async delete({ userId, name }) {
    return { changed: await storage.deleteAdapter(userId, name) };
  },
  async deleteVersion({ userId, name, version }) {
    return { changed: Number(await storage.deleteAdapterVersion(userId, name, version)) };
  },
  async rollback({ userId, name, version }) {
    return { version: await storage.rollbackAdapter(userId, name, version) };
  },
};

/** Does one operation. What it answers, or the code of its error, between two stamps. */
export async function run(operation) {
  const servedBefore = servedStale;
  const begin = now();
  const answer = await operations[operation.kind](operation).catch((error) => ({
    error: error.code ?? 'UNEXPECTED',
    message: String(error.stack ?? error),
  }));
  const end = now();
  return { begin, end, stale: servedStale > servedBefore, ...answer };
}

export function statistics() {
  return storage.cacheStats();
}

function described(adapter) {
  if (adapter === undefined) return { absent: true };
  if (adapter instanceof Error) throw adapter;
  return { body: readBody(adapter) };
}

function absence(error) {
  if (error.code === 'ADAPTER_NOT_FOUND') return { absent: true };
  throw error;
}
