/**
 * Half precision (IEEE 754 binary16) in TypeScript, rounded to nearest even: the readable reference of native/weights-impl.h,
 * bit for bit.
 */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Every number of 65,520 or more, and NaN, is infinity, 0x7c00. */
export function halfOf(value: number): number {
  float[0] = value;
  const sign = ((bits[0] as number) >>> 16) & 0x8000;
  const size = Math.abs(float[0] as number);
  if (!(size < 65_520)) return sign | 0x7c00;
  // Below 2^-14 halves are 2^-24 apart, and further up 2^-10 of the power of two at or below the number.
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const step = 2 ** (exponent - 10);
  const steps = roundToEven(size / step);
  // 1,024 steps and more are a power of two and what is above it: they carry into the exponent by themselves.
  return sign | ((exponent + 14) * 1024 + steps);
}

/** Exactly. Of a half that is neither infinite nor NaN. */
export function floatOf(half: number): number {
  const [exponent, steps] = [(half >>> 10) & 0x1f, half & 0x3ff];
  const size = exponent === 0 ? steps * 2 ** -24 : (1024 + steps) * 2 ** (exponent - 25);
  return half & 0x8000 ? -size : size;
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
