/**
 * Training of an adapter on one user's events: gradient descent on binary cross-entropy of sigmoid(preference ·
 * forward(embedding)), on the user layer only (docs/personalisation.md). Promises: an adapter is trained whole, or it is as
 * it was and there is an error that says why.
 */
import { type UserLoRAAdapter, weightsOf } from '../adapter/adapter.js';
import { type Descended, descent } from '../adapter/descent.js';
import { implementation } from '../adapter/implementation.js';
import { expectLength } from '../adapter/linear.js';
import type { Vector } from '../adapter/matrix.js';
import type { Weights } from '../adapter/record.js';
import { InvalidAdapterError } from '../errors.js';
import { refuseRounded } from '../storage/input.js';
import { allFinite, type Lesson, parseConfig, parseEvents, parsePreference } from './input.js';
import { type Projected, project } from './projection.js';
import type { ContentEmbedding, SonaConfig, TrainingReport, ViewingEvent } from './types.js';

/** Steps × rank that are too many for the event loop to wait for: about 1 ms at rank 8. */
const LONG = 100_000;

/** One lesson, for one adapter or for one version of it after the other. */
export class Training {
  readonly #lesson: Lesson;
  readonly #embedding: ContentEmbedding;
  readonly #preference: Float32Array;
  readonly #config: Required<SonaConfig>;
  #known: { readonly weights: Weights; readonly projected: Projected } | undefined;

  /** Throws InvalidAdapterError on what is no event, preference or setting. */
  constructor(
    events: readonly ViewingEvent[],
    embedding: ContentEmbedding,
    preference: Vector,
    config: SonaConfig | undefined,
  ) {
    this.#config = parseConfig(config);
    this.#lesson = parseEvents(events);
    this.#preference = parsePreference(preference);
    if (typeof embedding !== 'function') throw new InvalidAdapterError('embedding is a function of a contentId');
    this.#embedding = embedding;
  }

  async run(adapter: UserLoRAAdapter): Promise<TrainingReport> {
    const weights = weightsOf(adapter);
    refuseRounded(weights);
    expectLength('preference', this.#preference, weights.outputDim);
    const events = this.#lesson.labels.length;
    if (events < this.#config.minTrainingEvents) return { trained: false, events, lossPerEpoch: [] };

    const { direction, losses } = await this.#descend(weights, await this.#project(weights));
    if (weightsOf(adapter) !== weights) {
      throw new InvalidAdapterError('the adapter was changed while it was trained: train a clone, or one at a time');
    }
    adapter.updateWeights((_, user) => {
      implementation.linear.descend(user, this.#preference, Float32Array.from(direction));
      expectConverging(allFinite(user));
    });
    adapter.trainingIterations++;
    adapter.lastTrainedTime = new Date();
    return { trained: true, events, lossPerEpoch: [...losses] };
  }

  async #descend(weights: Weights, projected: Projected): Promise<Descended> {
    const { learningRate, epochs } = this.#config;
    const { labels } = this.#lesson;
    const reflected = new Float32Array(weights.rank);
    implementation.linear.reflect(weights, this.#preference, reflected);
    if (!allFinite(reflected)) {
      throw new InvalidAdapterError('the preference is too large for the user layer, or that is not finite');
    }
    const squaredPreference = this.#preference.reduce((sum, value) => sum + value * value, 0);
    const { scalingFactor } = weights;
    const rest = { reflected, scalingFactor, squaredPreference, learningRate, epochs };
    const run = { ...projected, labels, ...rest };
    const long = labels.length * epochs * weights.rank > LONG;
    const descended = long ? await implementation.longDescent(run) : descent(run);
    expectConverging(allFinite(descended.losses) && allFinite(descended.direction));
    return descended;
  }

  /** Kept for the next version of the adapter: rivals change the user layer, and the base layer as good as never. */
  async #project(weights: Weights): Promise<Projected> {
    if (this.#known === undefined || !sameBase(this.#known.weights, weights)) {
      const projected = await project(weights, this.#lesson.contentIds, this.#embedding);
      this.#known = { weights, projected };
    }
    return this.#known.projected;
  }
}

function sameBase(one: Weights, other: Weights): boolean {
  return (
    one.rank === other.rank && one.base.length === other.base.length && one.base.every((a, i) => a === other.base[i])
  );
}

function expectConverging(finite: boolean): void {
  if (!finite) throw new InvalidAdapterError('training left what a float can hold: lower learningRate, or scale down');
}
