// @ts-check
/**
 * The content that is ranked and trained on: 200 made-up titles of eight genres, the same in every process. This is the
 * place to plug in your own: anything with the two functions of Catalogue, over a table, a vector index or a feature store.
 */
import { createHash } from 'node:crypto';

/**
 * A rejection means: not now, for anybody; and so does an answer that does not come in time. What was accepted is then trained
 * later.
 * @typedef {object} Catalogue
 * @property {(contentIds: readonly string[]) => Embeddings | Promise<Embeddings>} embeddings
 *   [INPUT_DIM] of each content, in order; undefined where there is none.
 * @property {(userId: string) => Float32Array | Promise<Float32Array>} preference
 *   [OUTPUT_DIM]: the direction of outputs that means that this user likes it.
 */
/** @typedef {(Float32Array | undefined)[]} Embeddings */

/** Those of the package's default shape. */
export const INPUT_DIM = 512;
export const OUTPUT_DIM = 768;

export const GENRES = ['drama', 'comedy', 'news', 'quiz', 'sports', 'nature', 'crime', 'music'];
const TITLES = 25;

/** 'drama-01' and so on. */
export const contentIds = GENRES.flatMap((genre) =>
  Array.from({ length: TITLES }, (_, i) => `${genre}-${String(i + 1).padStart(2, '0')}`),
);

const embeddings = new Map(contentIds.map((id) => [id, embed(id)]));

// A service would keep one a user. Training moves the user layer along it, so that any that is not zero serves.
const liking = vector('liking', OUTPUT_DIM).map((value) => value / 5);

/** @type {Catalogue} */
export const catalogue = {
  embeddings: (ids) => ids.map((id) => embeddings.get(id)),
  preference: () => liking,
};

/**
 * Titles of a genre are alike, and none is another.
 * @param {string} id
 */
function embed(id) {
  const genre = vector(id.slice(0, id.indexOf('-')), INPUT_DIM);
  const own = vector(id, INPUT_DIM);
  return genre.map((value, i) => 0.9 * value + 0.4 * (own[i] ?? 0));
}

/**
 * Uniform in [-1, 1), from the digest of a text.
 * @param {string} text
 * @param {number} length
 */
function vector(text, length) {
  const bytes = createHash('shake256', { outputLength: 4 * length })
    .update(text)
    .digest();
  return Float32Array.from({ length }, (_, i) => bytes.readInt32LE(4 * i) / 2 ** 31);
}
