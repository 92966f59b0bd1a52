/** What training and ranking take and give back. */
import type { Vector } from '../adapter/matrix.js';

/** What a user did with a piece of content. */
export interface ViewingEvent {
  readonly contentId: string;
  /** Share of the content that was watched, 0 to 1. */
  readonly completionRate: number;
  /** 1 to 5. */
  readonly rating?: number;
  readonly isRewatch?: boolean;
  /** Not read: events train in the order given. */
  readonly timestamp?: Date;
}

/**
 * The embedding [inputDim] of a content. Several are asked for at a time, so each needs an array of its own. A rejection, or
 * no vector, ends the training with EmbeddingError.
 */
export type ContentEmbedding = (contentId: string) => Vector | Promise<Vector>;

export interface SonaConfig {
  /** Default 0.001. */
  learningRate?: number;
  /** Passes over the events. Default 5. */
  epochs?: number;
  /** Fewer events train nothing. Default 10. */
  minTrainingEvents?: number;
}

export interface TrainingReport {
  /** False: there were fewer than minTrainingEvents, and nothing was changed. */
  readonly trained: boolean;
  /** How many there were. */
  readonly events: number;
  /** Mean cross-entropy of the events in each epoch, each taken before its step; empty where nothing was trained. */
  readonly lossPerEpoch: readonly number[];
}

export interface Candidate {
  readonly id: string;
  /** [inputDim]. */
  readonly embedding: Vector;
}

export interface Ranked {
  readonly id: string;
  readonly score: number;
}
