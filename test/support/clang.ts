/**
 * A clang with AddressSanitizer and libFuzzer: the one on PATH where it brings both, else Debian's, without installing
 * anything and without root. The headers and the linker are those of the machine's g++.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from './root.js';
import { fromNothing, libraryPath, unpackedFromApt } from './servers/apt.js';
import { findCommand } from './servers/find-binaries.js';

const execute = promisify(execFile);

export interface Clang {
  readonly from: 'path' | 'apt';
  readonly compiler: string;
  /** What it takes to run the compiler. */
  readonly env: NodeJS.ProcessEnv;
  /** AddressSanitizer as a shared object, to preload into a program that was not built with it. */
  readonly runtime: string;
}

export async function findClang(): Promise<Clang> {
  const installed = findCommand('clang++');
  if (installed !== undefined) {
    try {
      return await proved('path', installed, process.env);
    } catch {
      // Without its runtime, as `apt-get install clang --no-install-recommends` leaves it.
    }
  }
  const to = join(root, '.cache/clang');
  // libclang-rt is the runtime; both are of the version that the release prefers.
  const packages = ['clang', 'libclang-rt-dev'];
  return await clangIn(await unpackedFromApt(to, packages, async (at) => void (await clangIn(at)), fromNothing));
}

function clangIn(unpacked: string): Promise<Clang> {
  const env = { ...process.env, LD_LIBRARY_PATH: libraryPath(unpacked) };
  return proved('apt', join(unpacked, 'usr/bin/clang++'), env);
}

/** Builds and runs the least that a fuzz target can be. */
async function proved(from: Clang['from'], compiler: string, env: NodeJS.ProcessEnv): Promise<Clang> {
  const scratch = mkdtempSync(join(tmpdir(), 'lora-store-clang-'));
  try {
    const source = join(scratch, 'target.cc');
    writeFileSync(
      source,
      '#include <vector>\nextern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n',
    );
    const program = join(scratch, 'target');
    await execute(compiler, ['-fsanitize=fuzzer,address,undefined', source, '-o', program], { env });
    await execute(program, ['-runs=1']);
    const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch;
    const library = `libclang_rt.asan-${machine}.so`;
    const { stdout } = await execute(compiler, [`-print-file-name=${library}`], { env });
    // What it does not find it gives back as it is.
    if (stdout.trim() === library) throw new Error(`${compiler} has no ${library}`);
    return { from, compiler, env, runtime: stdout.trim() };
  } catch (error) {
    throw new Error(`${compiler} builds no fuzz target`, { cause: error });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
