import { expect, test } from 'vitest';
import { encodeAdapter } from '../../src/index.js';
import { verifyPiece } from '../../src/operations/archive.js';
import { gzipped, tarPiece } from '../../src/operations/tar.js';
import { packVersion, pathOf, type StoredVersion } from '../../src/operations/version-file.js';
import { smallAdapter } from '../support/storage.js';

const USER = '00000000-0000-0000-0000-0000000000aa';
const time = '2025-01-31T12:00:00.123456Z';

function stored(version: number, seed = version): StoredVersion {
  const bytes = encodeAdapter(smallAdapter(USER, seed));
  return {
    userId: USER,
    adapterName: 'default',
    version,
    trainingIterations: 0,
    createdAt: time,
    updatedAt: time,
    bytes,
  };
}

function piece(versions: StoredVersion[]): Promise<Buffer> {
  return tarPiece(versions.map((one) => ({ path: pathOf(one), bytes: packVersion(one), time: new Date(0) })));
}

test('a piece that came back from the disk is believed only if it is what was written', async () => {
  const versions = [stored(1), stored(2)];
  const good = await piece(versions);
  await verifyPiece(good, versions);
  await verifyPiece(await gzipped(good), versions);

  await expect(verifyPiece(await piece([stored(1)]), versions)).rejects.toThrow(/all that was written/);
  await expect(verifyPiece(await piece([stored(1), stored(2, 3)]), versions)).rejects.toThrow(/as it was written/);
  await expect(verifyPiece(await piece([stored(1), stored(2), stored(3)]), versions)).rejects.toThrow(
    /as it was written/,
  );
  await expect(verifyPiece(Buffer.alloc(0), versions)).rejects.toThrow(/all that was written/);
  for (let at = 0; at < good.length; at += 97) {
    const damaged = Buffer.from(good);
    damaged[at] = (damaged[at] as number) ^ 1;
    // Only what fills blocks up, and fields of tar that say nothing of the content, may differ.
    const refused = await verifyPiece(damaged, versions).then(
      () => false,
      () => true,
    );
    expect(refused || !inContent(good, at), `byte ${at}`).toBe(true);
  }
});

/** Whether that byte is one of a file, and not of a tar header or its padding. */
function inContent(tar: Buffer, at: number): boolean {
  const first = packVersion(stored(1)).length;
  const second = 512 + Math.ceil(first / 512) * 512;
  return [512, second + 512].some((begin) => at >= begin && at < begin + first) && tar.length > at;
}
