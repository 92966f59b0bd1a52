/**
 * What goes out on diagnostics_channel, as 'lora-store:<channel>', for whoever watches the whole process: every load and
 * every save, and what storage.on() reports. A message names the storage it is of, since a process may have several; it
 * holds no weights. Where nobody listens, a load looks for that once, and does nothing else.
 */
import { channel } from 'node:diagnostics_channel';
import type { StorageEvents, Tier } from './events.js';
import type { LoRAStorage } from './lora-storage.js';
import type { LoadFailure, LoadOutcome, SaveFailure } from './outcomes.js';

interface Message {
  /** Undefined while it opens. */
  readonly storage: LoRAStorage | undefined;
}

interface Call extends Message {
  /** From the call to its answer, as its caller saw it. */
  readonly durationMs: number;
  /** What the call rejected with. */
  readonly error: unknown;
}

/**
 * A call that asked for one adapter has its answer: loadAdapter, loadAdapterInfo, loadAdapterVersion, loadAdapterOr, and
 * peekAdapter if it found something. Sent in the async context of the caller, before he goes on. Bad input is no load.
 */
export interface LoadMessage extends Call {
  readonly userId: string;
  readonly adapterName: string;
  readonly outcome: LoadOutcome;
  /** Where the bytes came from; of what is absent, who said so. Undefined after a failure. */
  readonly tier: Tier | undefined;
  /** The furthest that was asked; 'memory': there was no I/O. Undefined after a failure. */
  readonly asked: Tier | undefined;
  readonly version: number | undefined;
  /** How long ago it was last known to be the latest. Undefined where nothing was found, and of loadAdapterVersion. */
  readonly verifiedAgeMs: number | undefined;
}

/** loadAdapters or loadAdaptersInto has its answer: one message a call, however many keys. */
export interface LoadManyMessage extends Call {
  readonly outcome: 'answered' | LoadFailure;
  readonly keys: number;
  /** How many keys were answered how, those given twice counted twice; empty after a failure. */
  readonly outcomes: Readonly<Partial<Record<LoadOutcome, number>>>;
  /** The furthest that was asked for any of them. */
  readonly asked: Tier | undefined;
}

/** saveAdapter or rollbackAdapter, which appends a copy, has its answer. Sent as a LoadMessage is. */
export interface SaveMessage extends Call {
  readonly operation: 'save' | 'rollback';
  readonly userId: string;
  readonly adapterName: string;
  readonly outcome: 'saved' | SaveFailure;
  /** The one that was committed. */
  readonly version: number | undefined;
}

/** What each channel carries, without 'lora-store:'. */
export type ChannelMessages = { load: LoadMessage; 'load-many': LoadManyMessage; save: SaveMessage } & {
  [E in keyof StorageEvents]: StorageEvents[E][0] & Message;
};

// In constants: a channel is found by its name through a map, and one that nobody holds may be collected.
export const loads = channel('lora-store:load');
export const manyLoads = channel('lora-store:load-many');
export const saves = channel('lora-store:save');

export const eventChannels = {
  degraded: channel('lora-store:degraded'),
  recovered: channel('lora-store:recovered'),
  corrupt: channel('lora-store:corrupt'),
  fallback: channel('lora-store:fallback'),
  invalidated: channel('lora-store:invalidated'),
};
