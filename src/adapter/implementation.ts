/**
 * Which implementation this process uses: the native one where its addon loads and the portable one otherwise. Says which
 * and why. LORA_STORE_CODEC forces the choice, and LORA_STORE_SIMD that of the native one's arithmetic.
 */
import { type Descended, type Descent, descentBetweenTurns } from './descent.js';
import { loadNative, type Simd } from './native.js';
import { portable } from './portable.js';
import { portableLinear } from './portable-linear.js';
import type { Codec, Linear } from './record.js';

interface Choice {
  readonly kind: 'native' | 'portable';
  /** Why it is not the native one. */
  readonly reason?: string;
  /** The CPU's lanes that the native one computes with. */
  readonly simd?: Simd;
}

const { choice, ...parts } = choose(process.env.LORA_STORE_CODEC, process.env.LORA_STORE_SIMD);

export const implementation: {
  readonly codec: Codec;
  readonly linear: Linear;
  /** descent() of a run that is too long for the event loop to wait for. */
  readonly longDescent: (run: Descent) => Promise<Descended>;
} = parts;

/** Which codec this process uses, and why not the native one when it does not. */
export const codec: Choice = Object.freeze(choice);

function choose(forced: string | undefined, simd: string | undefined) {
  if (forced === 'portable') return portableFor('LORA_STORE_CODEC=portable asks for it');
  if (forced !== undefined && forced !== '' && forced !== 'native') {
    throw new Error(`LORA_STORE_CODEC is '${forced}': set it to 'native' or 'portable', or unset it`);
  }
  const native = loadNative(undefined, simd || undefined);
  if ('codec' in native) {
    const { codec, linear, longDescent } = native;
    return { codec, linear, longDescent, choice: { kind: 'native', simd: native.simd } as Choice };
  }
  if (forced !== 'native') return portableFor(native.reason);
  throw new Error(`LORA_STORE_CODEC=native, but ${native.reason}`, { cause: native.cause });
}

function portableFor(reason: string) {
  const choice: Choice = { kind: 'portable', reason };
  return { codec: portable, linear: portableLinear, longDescent: descentBetweenTurns, choice };
}
