import type { Addon } from '../../src/adapter/native.js';

export function everything(addon: Addon, bytes: Uint8Array): unknown;
export const endless: Record<string, (all: never) => unknown>;
