/**
 * UserLoRAAdapter: one user's low-rank weights, y = scalingFactor · B·(A·x). Promises: weights never change under anyone
 * who reads them, and an adapter over a record that is in memory already costs no copy: one object of a few fields.
 */
import { inspect, types } from 'node:util';
import { InvalidAdapterError } from '../errors.js';
import { expectLength, forward, score, scoreMany } from './linear.js';
import type { AdapterShape, Matrix, Vector } from './matrix.js';
import { fillXavier, randomFrom } from './random.js';
import type { AdapterRecord, Weights } from './record.js';
import { parseUserId } from './user-id.js';
import { editWeights, zeroWeights } from './weights.js';

// Marks a call of the constructor that comes from this file: weights to share are taken from nobody else.
const SHARING = Symbol('sharing');

let readWeights: (adapter: UserLoRAAdapter) => Weights;

/**
 * One user's low-rank adapter: y = scalingFactor · B·(A·x).
 * Weights are shared with the cache after a load and copied on the first write, so that a load
 * costs no copy and a training step can never change what another caller holds.
 */
export class UserLoRAAdapter {
  #weights: Weights;
  #base: Matrix | undefined;
  #user: Matrix | undefined;
  #lastTrained: Date | number;

  /** Training runs behind these weights: an integer from 0 to 2^53 - 1, which is checked when the adapter is encoded. */
  trainingIterations: number;

  /**
   * All weights zero, no training iterations, last trained now. userId: any 128 bits in canonical hexadecimal form, any
   * letter case, kept in lower case. Throws InvalidAdapterError on another userId or a dimension that is no positive integer.
   */
  constructor(userId: string, shape?: AdapterShape);
  constructor(
    from: string | Weights,
    shape: AdapterShape = {},
    sharing?: symbol,
    iterations = 0,
    lastTrained?: number,
  ) {
    this.#weights = sharing === SHARING ? (from as Weights) : zeroWeights(parseUserId(from), shape);
    this.#base = undefined;
    this.#user = undefined;
    this.#lastTrained = lastTrained ?? Date.now();
    this.trainingIterations = iterations;
  }

  static {
    readWeights = (adapter) => adapter.#weights;
  }

  /** Canonical lower case. */
  get userId(): string {
    return this.#weights.userId;
  }

  /** r of the low-rank pair: rows of A, columns of B. */
  get rank(): number {
    return this.#weights.rank;
  }

  /** Length of an input: columns of A. */
  get inputDim(): number {
    return this.#weights.inputDim;
  }

  /** Length of an output: rows of B. */
  get outputDim(): number {
    return this.#weights.outputDim;
  }

  /** alpha / rank in single precision, as the record keeps it. */
  get scalingFactor(): number {
    return this.#weights.scalingFactor;
  }

  /** A, [rank × inputDim]: shared tier. A snapshot: later updates of this adapter do not show in it. */
  get baseLayerWeights(): Matrix {
    const { rank, inputDim, base } = this.#weights;
    this.#base ??= Object.freeze({ rows: rank, cols: inputDim, data: base });
    return this.#base;
  }

  /** B, [outputDim × rank]: the user's own tier. A snapshot like A. */
  get userLayerWeights(): Matrix {
    const { rank, outputDim, user } = this.#weights;
    this.#user ??= Object.freeze({ rows: outputDim, cols: rank, data: user });
    return this.#user;
  }

  /**
   * After a load: the row's updated_at, in a Date that is this adapter's own. Otherwise when the adapter was made. The
   * record does not hold it. Throws InvalidAdapterError when set to anything but a valid Date.
   */
  get lastTrainedTime(): Date {
    if (typeof this.#lastTrained === 'number') this.#lastTrained = new Date(this.#lastTrained);
    return this.#lastTrained;
  }

  set lastTrainedTime(time: Date) {
    if (!types.isDate(time) || Number.isNaN(time.getTime())) {
      throw new InvalidAdapterError('lastTrainedTime is a valid Date');
    }
    // Its time, not the object: the caller may go on with that one.
    this.#lastTrained = time.getTime();
  }

  /**
   * Xavier initialisation of both layers: uniform in ±sqrt(6 / (rows + columns)). The same seed, any safe integer, gives
   * the same weights everywhere; without one they differ each time. Returns this.
   */
  initializeRandom(seed?: number): this {
    const random = randomFrom(seed);
    const { rank, inputDim, outputDim } = this.#weights;
    return this.updateWeights((base, user) => {
      fillXavier(base, inputDim, rank, random);
      fillXavier(user, rank, outputDim, random);
    });
  }

  /**
   * The only way to write weights: hands copies of A [rank·inputDim] and B [outputDim·rank] to edit, and takes them over
   * when it returns. They are writable until then and empty afterwards, so edit must be synchronous. When it throws, that
   * error passes through and the adapter is as it was. NaN and infinities are refused when the adapter is encoded. Each
   * call copies the weights once: loop inside edit, not around updateWeights. Returns this.
   */
  updateWeights(edit: (base: Float32Array, user: Float32Array) => void): this {
    const before = this.#weights;
    const edited = editWeights(before, edit);
    if (this.#weights !== before) {
      throw new InvalidAdapterError('updateWeights() was called again from within its own edit function');
    }
    this.#weights = edited;
    this.#base = undefined;
    this.#user = undefined;
    return this;
  }

  /**
   * Copies A into base [rank·inputDim] and B into user [outputDim·rank], arrays of the caller's, such as rows of a batch
   * tensor. Throws InvalidAdapterError on another length, before anything is written.
   */
  copyWeightsTo(base: Float32Array, user: Float32Array): void {
    expectLength('base', base, this.#weights.base.length);
    expectLength('user', user, this.#weights.user.length);
    base.set(this.#weights.base);
    user.set(this.#weights.user);
  }

  /** An adapter of its own with the same contents. Shares weights until either is updated: costs no copy. */
  clone(): UserLoRAAdapter {
    return share(this.#weights, this.trainingIterations, Number(this.#lastTrained));
  }

  /**
   * y = scalingFactor · B·(A·x) for input x [inputDim]. Returns out, or a new array of [outputDim]; out may be input.
   * Within 1e-5 · Σ|aᵢ·bᵢ| of the exact sums, while products and sums stay within what f32 holds. Throws InvalidAdapterError on another length.
   */
  forward(input: Vector, out?: Float32Array): Float32Array {
    return forward(this.#weights, input, out);
  }

  /**
   * dot(forward(input), preference) for preference [outputDim], as near to the exact one as forward() is. Not clamped: a
   * clamp would turn the best candidates into ties. Throws InvalidAdapterError on another length.
   */
  score(input: Vector, preference: Vector): number {
    return score(this.#weights, input, preference);
  }

  /**
   * score() of n candidates at once, rounded to f32; inputs holds n rows of inputDim. Returns out, or a new array of [n];
   * out must not overlap inputs. Throws InvalidAdapterError on another length.
   */
  scoreMany(inputs: Vector, preference: Vector, out?: Float32Array): Float32Array {
    return scoreMany(this.#weights, inputs, preference, out);
  }

  /** What console.log shows: everything but ten thousand weights. */
  [inspect.custom](): string {
    const { userId, rank, inputDim, outputDim, scalingFactor } = this.#weights;
    const shape = `rank ${rank}, ${inputDim} → ${outputDim}, scaling ${scalingFactor}`;
    return `UserLoRAAdapter { ${userId}, ${shape}, ${this.trainingIterations} training iterations }`;
  }
}

const Sharing = UserLoRAAdapter as unknown as new (...args: unknown[]) => UserLoRAAdapter;

function share(weights: Weights, iterations: number, lastTrained: number): UserLoRAAdapter {
  return new Sharing(weights, undefined, SHARING, iterations, lastTrained);
}

/** Internal: an adapter over a record, without a copy. lastTrainedTime: the row's updated_at. */
export function adapterFromRecord(record: AdapterRecord, lastTrainedTime: Date | number): UserLoRAAdapter {
  return share(record, record.trainingIterations, Number(lastTrainedTime));
}

/** Internal: what is behind an adapter; an AdapterRecord as long as no weight was written since it was loaded. */
export function weightsOf(adapter: UserLoRAAdapter): Weights {
  if (!(adapter instanceof UserLoRAAdapter))
    throw new InvalidAdapterError('expected a UserLoRAAdapter of this package');
  return readWeights(adapter);
}
