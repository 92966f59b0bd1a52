// @ts-check
/** Whose adapters are ranked with: nobody's but the measurement's. */
/** @param {number} index */
export function userAt(index) {
  return `00000000-0000-4000-8000-00e${String(index).padStart(9, '0')}`;
}
