/**
 * What happened, told twice: to listeners of storage.on(), and on diagnostics_channel 'lora-store:<event>' for whoever
 * watches the whole process.
 */
import { EventEmitter } from 'node:events';
import { eventChannels } from './channels.js';
import type { LoRAStorage } from './lora-storage.js';

export type Tier = 'memory' | 'redis' | 'postgres';

/** What may fail by itself. 'replica': one of postgres.replicas, named in the cause. */
export type Part = Tier | 'bus' | 'change-feed' | 'replica';

/** What storage.on() reports; the same and more goes out on diagnostics_channel 'lora-store:*'. */
export interface StorageEvents {
  /** A tier stopped answering, or answers with refusals; of what did so in open(), told right after it. */
  degraded: [{ tier: Part; cause: Error }];
  /** All is well with it again. */
  recovered: [{ tier: Part; afterMs: number }];
  /** Bytes refused on the way in. */
  corrupt: [{ userId: string; adapterName: string; tier: Tier; reason: string }];
  /** loadAdapterOr used its fallback. */
  fallback: [{ userId: string; adapterName: string; cause: Error }];
  /** What memory held of an adapter is no longer the latest; of a deletion also where a load has found nothing before. */
  invalidated: [{ userId: string; adapterName: string; revision: number; via: 'bus' | 'change-feed' | 'self' }];
}

export type EventName = keyof StorageEvents;

export class Events {
  readonly #emitter = new EventEmitter();
  readonly #onceOpen: (() => void)[] = [];
  #storage: LoRAStorage | undefined;

  /** Whose events these are, for those who listen to all; undefined while it opens. */
  get storage(): LoRAStorage | undefined {
    return this.#storage;
  }

  /** `storage` is about to be handed out. */
  opened(storage: LoRAStorage): void {
    this.#storage = storage;
    // A turn later: whoever awaits open() listens by then.
    setImmediate(() => {
      for (const tell of this.#onceOpen) tell();
    });
  }

  /** For what happens while it opens, and nobody can listen to it yet. */
  onceOpen(tell: () => void): void {
    this.#onceOpen.push(tell);
  }

  on<E extends EventName>(event: E, listener: (...args: StorageEvents[E]) => void): void {
    this.#emitter.on(event, listener as (...args: unknown[]) => void);
  }

  off<E extends EventName>(event: E, listener: (...args: StorageEvents[E]) => void): void {
    this.#emitter.off(event, listener as (...args: unknown[]) => void);
  }

  emit<E extends EventName>(event: E, ...args: StorageEvents[E]): void {
    const channel = eventChannels[event];
    if (channel.hasSubscribers) channel.publish({ ...args[0], storage: this.storage });
    this.tell(event, ...args);
  }

  /** Listeners of the storage alone: the others have been told. */
  tell<E extends EventName>(event: E, ...args: StorageEvents[E]): void {
    try {
      this.#emitter.emit(event, ...args);
    } catch (error) {
      // A listener that throws must not fail the load or save that happened to be under way; it still ends up where
      // uncaught errors go.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
