/** Which codec a process gets, what it says about it, and what happens when the addon is missing or damaged. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadNative } from '../../src/adapter/native.js';
import { addon, goldenBytes } from '../support/adapters.js';

/** codec.ts as a process with this LORA_STORE_CODEC sees it: it chooses while it is imported. */
async function importWith(value: string | undefined) {
  vi.stubEnv('LORA_STORE_CODEC', value);
  vi.resetModules();
  return import('../../src/adapter/codec.js');
}

afterEach(() => {
  vi.unstubAllEnvs();
  vi.doUnmock('../../src/adapter/native.js');
});

describe('LORA_STORE_CODEC', () => {
  test.each([undefined, '', 'native'])('%j: native, where the addon is built', async (value) => {
    const { codec } = await importWith(value);
    expect(codec).toEqual({ kind: 'native', simd: addon().kernels()?.simd });
    expect(Object.isFrozen(codec)).toBe(true);
  });

  test('portable: portable, and the reason says who asked for it', async () => {
    const { codec, decodeAdapter, encodeAdapter, crc32c } = await importWith('portable');
    expect(codec).toEqual({ kind: 'portable', reason: 'LORA_STORE_CODEC=portable asks for it' });
    const bytes = goldenBytes('small-4x16-32.bin');
    expect(encodeAdapter(decodeAdapter(bytes)).equals(bytes)).toBe(true);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  test.each(['Native', 'rust', '1'])('%s: refused, with the two choices', async (value) => {
    await expect(importWith(value)).rejects.toThrow(
      `LORA_STORE_CODEC is '${value}': set it to 'native' or 'portable', or unset it`,
    );
  });

  describe('without an addon', () => {
    const reason = 'there is no addon: build it';
    beforeEach(() => {
      vi.doMock('../../src/adapter/native.js', () => ({ loadNative: () => ({ reason }) }));
    });

    test('unset: portable, for the reason the loader gave', async () => {
      const { codec } = await importWith(undefined);
      expect(codec).toEqual({ kind: 'portable', reason });
    });

    test('native: refused rather than replaced in silence', async () => {
      await expect(importWith('native')).rejects.toThrow(`LORA_STORE_CODEC=native, but ${reason}`);
    });
  });
});

describe('the loader', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'lora-store-addon-'));
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  function install(directory: string, file: string, content?: string): void {
    mkdirSync(join(root, directory), { recursive: true });
    const path = join(root, directory, file);
    const built = new URL('../../build/Release/lora_store.node', import.meta.url);
    if (content === undefined) copyFileSync(built, path);
    else writeFileSync(path, content);
  }

  test('says how to build an addon that is not there', () => {
    expect(loadNative(root)).toEqual({
      reason:
        `there is no addon for ${process.platform}-${process.arch}: ` +
        `build it with 'npx cmake-js compile' in ${root} (needs CMake and a C++17 compiler)`,
    });
  });

  test('says why one that is there does not load', () => {
    install('build/Release', 'lora_store.node', 'no shared object');
    const native = loadNative(root);
    expect(native).toHaveProperty(
      'reason',
      expect.stringMatching(/lora_store\.node did not load \(.+\): build it with/),
    );
    expect(native).toHaveProperty('cause', expect.any(Error));
  });

  test('finds a prebuilt one', () => {
    const { platform, arch } = process;
    install(`prebuilds/lora_store-${platform}-${arch}`, 'node-napi-v8.node');
    const native = loadNative(root);
    expect(native).toHaveProperty('codec');
  });
});
