/** What callers hand in and get back, beyond adapters. */
import type { UserLoRAAdapter } from '../adapter/adapter.js';
import type { Tier } from './events.js';

export interface LoadedAdapter {
  readonly adapter: UserLoRAAdapter;
  readonly version: number;
  /** Per-adapter counter that grows with every save and delete, never reused. */
  readonly revision: number;
  /** Where its bytes came from. */
  readonly tier: Tier;
  /** Milliseconds since this version was last known to be the latest. */
  readonly verifiedAgeMs: number;
  /** True when it was served without a possible verification, for example with Postgres down. */
  readonly stale: boolean;
}

export interface AdapterKey {
  userId: string;
  /** Default 'default'. */
  adapterName?: string;
}

export interface CallOptions {
  /** Aborted: the call rejects with the signal's reason; others who wait for the same adapter are not disturbed. */
  signal?: AbortSignal;
  /**
   * The weights as they were saved: a copy in half precision (`redisEncoding: 'f16'`) is passed over. What is trained and
   * saved again has to be loaded so. Default false.
   */
  exact?: boolean;
}
