/** What an archive says it holds is not read before it can be what it says. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { encodeAdapter, UserLoRAAdapter } from '../../src/index.js';
import { type Found, filesOf, filesOfTar } from '../../src/operations/sources.js';
import { tarEnd, tarPiece } from '../../src/operations/tar.js';
import { packVersion, pathOf } from '../../src/operations/version-file.js';
import { scratchDirectory, user } from '../cli/archives.js';

const scratch = scratchDirectory();

/** 2 MB, as it is written. */
function largeFile(): { path: string; bytes: Buffer } {
  const adapter = new UserLoRAAdapter(user(1), { rank: 2, inputDim: 250_000, outputDim: 4 }).initializeRandom(1);
  const [key, time] = [{ userId: user(1), adapterName: 'default', version: 1 }, '2025-01-01T00:00:00.000000Z'];
  const stored = { ...key, trainingIterations: 0, createdAt: time, updatedAt: time, bytes: encodeAdapter(adapter) };
  return { path: pathOf(key), bytes: packVersion(stored) };
}

const { signal } = new AbortController();

/** Of a tar with this file, and of a directory with it. */
async function found(name: string, path: string, bytes: Buffer): Promise<Found[]> {
  const tar = Buffer.concat([await tarPiece([{ path, bytes, time: new Date(0) }]), tarEnd()]);
  const directory = join(scratch, name);
  mkdirSync(join(directory, path, '..'), { recursive: true });
  writeFileSync(join(directory, path), bytes);
  const all: Found[] = [];
  for await (const one of filesOfTar(Readable.from([tar], { objectMode: false }))) all.push(one);
  for await (const one of filesOf(directory, signal)) all.push(one);
  return all;
}

test('a large file comes as it is', async () => {
  const { path, bytes } = largeFile();
  expect((await found('good', path, bytes)).map((one) => one.bytes?.equals(bytes))).toEqual([true, true]);
});

test.each([
  ['zeros', Buffer.alloc(2 ** 21), /does not begin/],
  ['no-second-line', Buffer.concat([Buffer.from('lora-store 1 00000000\n'), Buffer.alloc(2 ** 21)]), /second line/],
  ['longer-than-its-shape', Buffer.concat([largeFile().bytes, Buffer.alloc(1)]), /layers/],
  ['shorter-than-its-shape', largeFile().bytes.subarray(0, 1_500_000), /layers/],
])('a large file that cannot be an adapter is not read: %s', async (name, bytes, words) => {
  const path = largeFile().path;
  const fault = { path, fault: expect.stringMatching(words) };
  expect(await found(name, path, bytes)).toEqual([fault, fault]);
});

test('a manifest is short, whoever says how long it is', async () => {
  const fault = { path: 'lora-store.json', fault: expect.stringMatching(/larger/) };
  expect(await found('manifest', 'lora-store.json', Buffer.alloc(2 ** 21))).toEqual([fault, fault]);
});

test('a link that is named stands for the directory behind it', async () => {
  const { path, bytes } = largeFile();
  await found('linked', path, bytes);
  symlinkSync(join(scratch, 'linked'), join(scratch, 'link'));
  const all: string[] = [];
  for await (const one of filesOf(join(scratch, 'link'), signal)) all.push(one.path);
  expect(all).toEqual([path]);
});

test('an aborted signal ends it, also where nothing in a directory is ours', async () => {
  mkdirSync(join(scratch, 'foreign/deep'), { recursive: true });
  const files = filesOf(join(scratch, 'foreign'), AbortSignal.abort(new Error('interrupted')));
  await expect(files.next()).rejects.toThrow('interrupted');
});
