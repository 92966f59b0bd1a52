/** UpdateUserLoRA: training of an adapter that the caller has, in place. */
import type { UserLoRAAdapter } from '../adapter/adapter.js';
import type { Vector } from '../adapter/matrix.js';
import { Training } from './training.js';
import type { ContentEmbedding, SonaConfig, TrainingReport, ViewingEvent } from './types.js';

/** Few-shot update of the user layer: gradient descent on binary cross-entropy of sigmoid(preference · forward(embedding)). */
export const UpdateUserLoRA = Object.freeze({
  /**
   * Trains the adapter in place: one step for each event, in the order given, `epochs` times (docs/personalisation.md).
   * preference: [outputDim]. embedding: [inputDim] of a content, asked for once per distinct content, 16 at a time. Fewer
   * than minTrainingEvents events change nothing, and the report says so; otherwise trainingIterations grows by one and
   * lastTrainedTime is now. Long runs leave the event loop free. events and preference are read before this returns its promise.
   *
   * Rejects with EmbeddingError (a content without a usable embedding) or InvalidAdapterError (an event, preference or
   * setting out of range, weights loaded in half precision, weights that were changed meanwhile, or numbers that no float
   * holds); the adapter is then as it was.
   */
  async execute(
    adapter: UserLoRAAdapter,
    events: readonly ViewingEvent[],
    embedding: ContentEmbedding,
    preference: Vector,
    config?: SonaConfig,
  ): Promise<TrainingReport> {
    return await new Training(events, embedding, preference, config).run(adapter);
  },
});
