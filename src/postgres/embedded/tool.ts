/**
 * Runs one of Postgres' own programs to its end, as the server's account, and keeps what it said.
 */
import { execFile } from 'node:child_process';
import { type Account, identity } from './account.js';

export interface ToolResult {
  readonly ok: boolean;
  /** stdout and stderr, or why the program could not be run at all. */
  readonly output: string;
}

export function runTool(file: string, args: readonly string[], account: Account | undefined): Promise<ToolResult> {
  const options = { ...identity(account), env: serverEnvironment(), cwd: neutralDirectory(), timeout: 120_000 };
  return new Promise((resolve) => {
    const finish = (error: Error | null, stdout: string, stderr: string) =>
      resolve({ ok: error === null, output: `${stdout}${stderr}`.trim() || (error?.message ?? '') });
    try {
      execFile(file, args, { ...options, windowsHide: true, maxBuffer: 16 << 20 }, finish);
    } catch (error) {
      // Node throws EACCES and EPERM of a spawn with a uid at once instead of handing them to the callback.
      finish(error instanceof Error ? error : new Error(String(error)), '', '');
    }
  });
}

/**
 * The variables a server needs and no others: PGDATA, PGPORT and their like would steer it elsewhere, and the
 * application's secrets are not for a process of another account.
 */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = ['PATH', 'TZ', 'TMPDIR', 'SystemRoot', 'SystemDrive', 'TEMP', 'TMP', 'LD_LIBRARY_PATH'];
  const found = kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
  return { ...Object.fromEntries(found), LC_ALL: 'C' };
}

/** The caller's working directory may be closed to the server's account. */
export function neutralDirectory(): string {
  return process.platform === 'win32' ? process.cwd() : '/';
}
