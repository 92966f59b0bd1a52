// @ts-check
/** Twenty-four users who exist for the page alone, what is ranked for them, and what they watched. */
import { contentIds, GENRES } from '../inference-server/catalogue.js';

export const USERS = Array.from(
  { length: 24 },
  (_, i) => `00000000-0000-4000-8000-0000000002${String(i + 1).padStart(2, '0')}`,
);
const CANDIDATES = 20;

/** Some of everything, in the order of the catalogue. */
export const candidates = contentIds.filter((_, i) => i % Math.floor(contentIds.length / CANDIDATES) === 0);

/**
 * Of somebody who loves one genre and leaves another.
 * @param {string} userId
 * @param {number} count
 */
export function eventsOf(userId, count) {
  const number = USERS.indexOf(userId);
  const [liked = '', left = ''] = [GENRES[number % GENRES.length], GENRES[(number + 3) % GENRES.length]];
  return Array.from({ length: count }, (_, i) => {
    const title = String(1 + (i % 25)).padStart(2, '0');
    return i % 2 === 0
      ? { contentId: `${liked}-${title}`, completionRate: 1, rating: 5 }
      : { contentId: `${left}-${title}`, completionRate: 0.05, rating: 1 };
  });
}
