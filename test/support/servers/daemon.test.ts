/** Nothing stays behind: a server and its directory end with `stop`, or with the process that started them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { waitFor } from '../wait.js';
import { Daemon } from './daemon.js';

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('stop ends the process and removes its directory', async () => {
  const daemon = new Daemon('test');
  daemon.start('sleep', ['600']);
  const { pid = 0 } = daemon;
  expect(alive(pid)).toBe(true);
  await daemon.stop();
  expect(alive(pid)).toBe(false);
  expect(existsSync(daemon.home)).toBe(false);
});

test('a process that ended by itself left its words in the log', async () => {
  const daemon = new Daemon('test');
  daemon.start('sh', ['-c', 'echo out of order >&2; exit 3']);
  await waitFor(() => !daemon.running);
  expect(daemon.log).toBe('out of order\n');
  await expect(daemon.run('sh', ['-c', 'echo no use; exit 1'])).rejects.toThrow('no use');
  await daemon.stop();
});

test('the janitor outlives a parent that was killed, and ends the server even if that ignores a polite signal', async () => {
  const janitor = fileURLToPath(new URL('./janitor.sh', import.meta.url));
  const home = mkdtempSync(join(tmpdir(), 'lora-store-janitor-'));
  const server = spawn('sh', ['-c', 'trap "" INT; while :; do sleep 1; done'], { stdio: 'ignore' });
  const serverEnded = once(server, 'exit');
  writeFileSync(join(home, 'pid'), String(server.pid));
  // The parent shares the pipe to the janitor's standard input with nobody, waits for ever, and is killed.
  const script = `require('child_process').spawn('sh', process.argv.slice(1), {
    detached: true, stdio: ['pipe', 'ignore', 'ignore'] }); process.stdout.write('started')`;
  const parent = spawn(process.execPath, ['-e', script, janitor, home], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(parent.stdout, 'data');
  expect(existsSync(home)).toBe(true);
  parent.kill('SIGKILL');
  await serverEnded;
  expect(server.signalCode).toBe('SIGKILL');
  await waitFor(() => !existsSync(home));
});
