/** Lessons for tests: contents with embeddings, and a user who likes some of them. */
import type { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import type { ViewingEvent } from '../../src/sona/types.js';
import { integerBelow, randomVector, seeded } from '../support/adapters.js';

type Shape = Pick<UserLoRAAdapter, 'inputDim' | 'outputDim'>;

export interface TestLesson {
  readonly preference: Float32Array;
  readonly embeddings: ReadonlyMap<string, Float32Array>;
  readonly events: readonly ViewingEvent[];
  /** Of a content. */
  embedding(contentId: string): Float32Array;
}

/** Events of all kinds on `contents` contents, the same for the same seed. */
export function lessonFor(shape: Shape, events: number, contents = events, seed = 1): TestLesson {
  const random = seeded(seed);
  const event = (_: unknown, i: number): ViewingEvent => ({
    contentId: `c${i < contents ? i : integerBelow(random, contents)}`,
    completionRate: random(),
    ...(random() < 0.5 && { rating: 1 + 4 * random() }),
    ...(random() < 0.3 && { isRewatch: random() < 0.5 }),
  });
  return lessonOf(shape, Array.from({ length: events }, event), random);
}

/** Contents of two clearly different kinds; the user watches the one again and again, and leaves the other at once. */
export function separableLesson(shape: Shape, events = 20, seed = 1): TestLesson {
  const random = seeded(seed);
  const liked = (_: unknown, i: number): ViewingEvent =>
    i % 2 === 0
      ? { contentId: `liked${i}`, completionRate: 1, rating: 5, isRewatch: true }
      : { contentId: `left${i}`, completionRate: 0, rating: 1 };
  const lesson = lessonOf(shape, Array.from({ length: events }, liked), random);
  const direction = randomVector(random, shape.inputDim);
  for (const [contentId, vector] of lesson.embeddings) {
    const side = contentId.startsWith('liked') ? 1 : -1;
    for (let j = 0; j < vector.length; j++) vector[j] = 0.1 * (vector[j] ?? 0) + side * (direction[j] ?? 0);
  }
  return lesson;
}

function lessonOf(shape: Shape, events: readonly ViewingEvent[], random: () => number): TestLesson {
  const embeddings = new Map(events.map(({ contentId }) => [contentId, randomVector(random, shape.inputDim)]));
  const embedding = (contentId: string) => embeddings.get(contentId) as Float32Array;
  return { events, embeddings, embedding, preference: randomVector(random, shape.outputDim) };
}
