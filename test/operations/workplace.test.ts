/** What an archive that is gone on with is believed of: its checkpoint, and the database it came from. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeAdapter } from '../../src/index.js';
import { TarTarget } from '../../src/operations/tar-target.js';
import { scratchDirectory, user } from '../cli/archives.js';
import { smallAdapter } from '../support/storage.js';

const scratch = scratchDirectory();
const job = { command: 'archive' };

/** One version in it, and no more is known of that anywhere else. */
async function begun(name: string): Promise<{ file: string; checkpoint: string; bytes: Buffer }> {
  const file = join(scratch, name);
  const target = await TarTarget.open(file, job);
  const [userId, time] = [user(1), '2025-01-01T00:00:00.000000Z'];
  const facts = { userId, adapterName: 'default', version: 1, trainingIterations: 0, createdAt: time, updatedAt: time };
  await target.write([{ ...facts, bytes: encodeAdapter(smallAdapter(userId)) }], facts);
  await target.close();
  return { file, checkpoint: `${file}.partial.json`, bytes: readFileSync(`${file}.partial`) };
}

const reopened = async (file: string) => {
  const target = await TarTarget.open(file, job);
  await target.close();
};

const without = (field: string) => (text: string) => JSON.stringify({ ...JSON.parse(text), [field]: undefined });
const as = (field: string, value: unknown) => (text: string) => JSON.stringify({ ...JSON.parse(text), [field]: value });

test.each([
  ['that is torn', (text: string) => text.slice(0, 20)],
  ['that is empty', () => ''],
  ['that is no object', () => 'null'],
  ['without bytes', without('bytes')],
  ['without versions', without('versions')],
  ['without what is left out', without('leftOut')],
  ['of no bytes but a version', as('bytes', 0)],
  ['of half a byte', as('bytes', 10.5)],
  ['of fewer than no bytes', as('bytes', -1)],
  ['of bytes in words', as('bytes', '1024')],
  ['of a key that is none', as('after', { userId: 1 })],
])('a checkpoint %s is refused, and what it stands beside is left as it is', async (what, damage) => {
  const { file, checkpoint, bytes } = await begun(`${what.replaceAll(' ', '-')}.tar`);
  writeFileSync(checkpoint, damage(readFileSync(checkpoint, 'utf8')));
  await expect(reopened(file)).rejects.toThrow(`${checkpoint} cannot be relied on`);
  expect(readFileSync(`${file}.partial`)).toEqual(bytes);
});

test('a checkpoint that is whole is gone on with', async () => {
  const { file, bytes } = await begun('whole.tar');
  await reopened(file);
  expect(readFileSync(`${file}.partial`)).toEqual(bytes);
});
