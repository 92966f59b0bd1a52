export { UserLoRAAdapter } from './adapter/adapter.js';
export { codec, decodeAdapter, encodeAdapter } from './adapter/codec.js';
export type { AdapterShape, Matrix, ReadonlyFloat32Array, Vector } from './adapter/matrix.js';
export * from './errors.js';
export type { LoRAStorageOptions, PostgresSource, RedisSource } from './options.js';
export { type MigrateOptions, migrate } from './postgres/migrate.js';
export { SonaEngine } from './sona/engine.js';
export { inExperiment } from './sona/experiment.js';
export type {
  Candidate,
  ContentEmbedding,
  Ranked,
  SonaConfig,
  TrainingReport,
  ViewingEvent,
} from './sona/types.js';
export { UpdateUserLoRA } from './sona/update-user-lora.js';
export type { ChannelMessages, LoadManyMessage, LoadMessage, SaveMessage } from './storage/channels.js';
export type { StorageEvents, Tier } from './storage/events.js';
export { LoRAStorage } from './storage/lora-storage.js';
export type { LoadFailure, LoadOutcome, SaveFailure } from './storage/outcomes.js';
export type { PruneOptions, PruneProgress } from './storage/prune.js';
export type { LoRAAdapterMetadata, StorageStats } from './storage/queries.js';
export type { CacheStats, Health } from './storage/status.js';
export type { AdapterKey, CallOptions, LoadedAdapter } from './storage/types.js';
export type { Warmed, WarmOptions } from './storage/warming.js';
