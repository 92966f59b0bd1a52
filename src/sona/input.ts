/** The caller's events, preference and settings, checked before anything is fetched or changed, and copied: both may change later. */
import { expectVector } from '../adapter/linear.js';
import type { Vector } from '../adapter/matrix.js';
import { InvalidAdapterError } from '../errors.js';
import type { SonaConfig, ViewingEvent } from './types.js';

const DEFAULTS: Required<SonaConfig> = Object.freeze({ learningRate: 0.001, epochs: 5, minTrainingEvents: 10 });

/** Of epochs, and of events that are the least to train on: anything above is a mistake. */
const MOST = 1_000_000;

/** Events as training takes them. */
export interface Lesson {
  /** [events]. */
  readonly contentIds: readonly string[];
  /** [events]: engagement, 0 to 1. */
  readonly labels: Float64Array;
}

export function parseConfig(config: SonaConfig = {}): Required<SonaConfig> {
  if (typeof config !== 'object' || config === null) throw new InvalidAdapterError('a SonaConfig is an object');
  for (const name of Object.keys(config)) {
    if (Object.hasOwn(DEFAULTS, name)) continue;
    throw new InvalidAdapterError(`unknown '${name}' in a SonaConfig: it has ${Object.keys(DEFAULTS).join(', ')}`);
  }
  const { learningRate = DEFAULTS.learningRate } = config;
  if (!Number.isFinite(learningRate) || learningRate <= 0) {
    throw new InvalidAdapterError(`learningRate is a finite number above 0, not ${String(learningRate)}`);
  }
  return {
    learningRate,
    epochs: atLeastOne(config, 'epochs'),
    minTrainingEvents: atLeastOne(config, 'minTrainingEvents'),
  };
}

export function parseEvents(events: readonly ViewingEvent[]): Lesson {
  if (!Array.isArray(events)) throw new InvalidAdapterError('events are an array of ViewingEvents');
  const labels = new Float64Array(events.length);
  // Not map() or from(): these pass over holes, or take ten times as long.
  for (let i = 0; i < events.length; i++) labels[i] = engagementOf(events[i] as ViewingEvent, i);
  return { contentIds: events.map(({ contentId }) => contentId), labels };
}

/** A copy, all of it finite. */
export function parsePreference(preference: Vector): Float32Array {
  expectVector('preference', preference);
  const copy = preference.slice();
  if (!allFinite(copy)) throw new InvalidAdapterError('preference holds a NaN or an infinity');
  return copy;
}

export function allFinite(numbers: Vector | Float64Array): boolean {
  for (let i = 0; i < numbers.length; i++) if (!Number.isFinite(numbers[i])) return false;
  return true;
}

/** Label of an event: how much was watched, how it was rated, and whether it was watched again. */
function engagementOf(event: ViewingEvent, index: number): number {
  if (typeof event !== 'object' || event === null) throw wrong(index, 'a ViewingEvent is an object');
  const { contentId, completionRate, rating, isRewatch = false } = event;
  if (typeof contentId !== 'string' || contentId === '') throw wrong(index, 'contentId is a string that is not empty');
  if (!between(completionRate, 0, 1)) throw wrong(index, 'completionRate is a number from 0 to 1');
  if (rating !== undefined && !between(rating, 1, 5)) throw wrong(index, 'rating is a number from 1 to 5, or left out');
  if (typeof isRewatch !== 'boolean') throw wrong(index, 'isRewatch is true or false, or left out');
  const completion = 0.5 + (completionRate - 0.3) / 1.4;
  // Who does not rate is taken to like half of what the completion says.
  const liking = rating === undefined ? completion * 0.5 : (rating - 1) / 4;
  return Math.min(1, Math.max(0, 0.4 * completion + 0.3 * liking + (isRewatch ? 0.2 : 0)));
}

function wrong(index: number, what: string): InvalidAdapterError {
  return new InvalidAdapterError(`event ${index}: ${what}`);
}

function between(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && value >= min && value <= max;
}

function atLeastOne(config: SonaConfig, name: 'epochs' | 'minTrainingEvents'): number {
  const value = config[name] ?? DEFAULTS[name];
  if (Number.isInteger(value) && value >= 1 && value <= MOST) return value;
  throw new InvalidAdapterError(`${name} is a whole number from 1 to ${MOST}, not ${String(value)}`);
}
