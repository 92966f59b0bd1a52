/** Which codec a process gets, what it says about it, and what happens when the addon is missing or damaged. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadNative } from '../../src/adapter/native.js';
import { addon, goldenBytes } from '../support/adapters.js';

const execute = promisify(execFile);

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

  // Each in a process of its own, which is what is lost where a part of it is loaded.
  test('says how much there is of one that was cut short while it was built or copied', async () => {
    const whole = readFileSync(new URL('../../build/Release/lora_store.node', import.meta.url));
    const lengths = [
      0,
      3,
      16,
      63,
      64,
      100,
      4096,
      whole.length >> 2,
      whole.length >> 1,
      whole.length - 4096,
      whole.length - 1,
    ];
    const load = `
      import { loadNative } from ${JSON.stringify(new URL('../../dist/adapter/native.js', import.meta.url))};
      const native = loadNative(process.argv[1]);
      console.log('reason' in native ? native.reason : 'loaded');`;
    mkdirSync(join(root, 'build/Release'), { recursive: true });
    for (const length of [...lengths, whole.length]) {
      writeFileSync(join(root, 'build/Release/lora_store.node'), whole.subarray(0, length));
      const { stdout } = await execute(process.execPath, ['--input-type=module', '--eval', load, root]);
      // What is no ELF any more is dlopen's to refuse, and it does; so do those of other systems whatever is missing.
      const refusal =
        length < 16 || process.platform !== 'linux'
          ? /did not load \(.+\): build it with/
          : new RegExp(`has ${length} of \\d+ bytes: install`);
      expect([length, stdout.trim()]).toEqual([
        length,
        length === whole.length ? 'loaded' : expect.stringMatching(refusal),
      ]);
    }
  });

  describe('finds a prebuilt one', () => {
    const file = `lora_store-${process.platform}-${process.arch}/node-napi-v8.node`;
    const built = readFileSync(new URL('../../build/Release/lora_store.node', import.meta.url));
    const published = {
      file,
      bytes: built.length,
      sha256: createHash('sha256').update(built).digest('hex'),
    };

    test.each<[string, object[], unknown]>([
      ['and loads what was published', [published], expect.objectContaining({ codec: expect.anything() })],
      [
        'and not another of its size',
        [{ ...published, sha256: '0'.repeat(64) }],
        refused('has a SHA-256 that is not in'),
      ],
      ['and not a part of it', [{ ...published, bytes: built.length + 1 }], refused(`has ${built.length} of`)],
      ['and not what nobody published', [], refused('is not in prebuilds/manifest.json')],
    ])('%s', (_, binaries, outcome) => {
      install(`prebuilds/${dirname(file)}`, basename(file));
      install('prebuilds', 'manifest.json', JSON.stringify({ binaries }));
      expect(loadNative(root)).toEqual(outcome);
    });

    test('and nothing that says what was published', () => {
      install(`prebuilds/${dirname(file)}`, basename(file));
      expect(loadNative(root)).toEqual({ ...refused('did not load (ENOENT'), cause: expect.any(Error) });
    });

    function refused(why: string) {
      return { reason: expect.stringContaining(`${basename(file)} ${why}`) };
    }
  });
});
