/** Whose process the server is: as root, as an ordinary user, and in a directory that changed hands. */
import { chownSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { serverAccount } from '../../../src/postgres/embedded/account.js';
import { copyPackage, isRoot, makeScratch, query, start, startNode, uidOf } from './support.js';

const uidHere = process.getuid?.() ?? 0;
const nobody = uidOf('nobody') ?? 65_534;

test('root hands the server and its files to an account without rights; anyone else keeps them', async () => {
  const { directory, url } = await start(makeScratch());
  const expected = isRoot ? (uidOf('postgres') ?? nobody) : uidHere;
  expect(statSync(join(directory, 'data')).uid).toBe(expected);
  expect(statSync(join(directory, 'postgres.log')).uid).toBe(expected);
  expect(await query(url, 'select 1 as served')).toEqual([{ served: 1 }]);
  const account = await serverAccount([join(directory, 'data'), directory]);
  expect(account?.uid).toBe(isRoot ? expected : undefined);
});

test('an ordinary user starts, stops and starts again', async () => {
  const scratch = makeScratch();
  const directory = join(scratch, 'db');
  mkdirSync(directory);
  const native = await copyPackage(scratch, 'with links');
  const user = await startNode();
  const uid = isRoot ? nobody : uidHere;
  chownSync(directory, uid, isRoot ? uid : (process.getgid?.() ?? 0));
  if (isRoot) await user.call('become', uid);
  const first = await user.call<{ url: string; adopted: boolean }>('start', directory, { native });
  await query(first.url, 'create table kept as select 42 as answer');
  expect(statSync(join(directory, 'data')).uid).toBe(uid);
  await user.call('stop');
  const second = await user.call<{ url: string; adopted: boolean }>('start', directory, { native });
  expect(second.adopted).toBe(false);

  // And whoever runs the tests, root or that same user, joins it.
  const joined = await start(directory);
  expect(joined.adopted).toBe(true);
  expect(await query(joined.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
  await user.call('stop');
  await joined.stop();

  // A server that root starts there later stays that user's, and he can go on with it.
  const byRoot = await start(directory);
  expect(statSync(join(directory, 'data/postmaster.pid')).uid).toBe(uid);
  expect((await user.call<{ adopted: boolean }>('start', directory, { native })).adopted).toBe(true);
  await byRoot.stop();
  await user.call('stop');
});

test("another user's directory is refused by name of its owner", async () => {
  const { directory, stop } = await start(makeScratch());
  await stop();
  const stranger = await startNode();
  if (isRoot) {
    await stranger.call('become', 4_242);
    const { uid } = statSync(join(directory, 'data'));
    const message = new RegExp(`data belongs to uid ${uid}: run as that user or as root`);
    await expect(stranger.call('start', directory)).rejects.toThrow(message);
  } else {
    const closed = join(makeScratch(), 'closed');
    mkdirSync(closed, { mode: 0 });
    await expect(start(join(closed, 'db'))).rejects.toThrow(/^cannot use \S+\/db for Postgres: .*permission denied/);
  }
});
