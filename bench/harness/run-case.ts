/**
 * One case in a process of its own, forked by main.ts: no case runs on a heap or under a compiler that another one has
 * shaped. Says what it is doing and what it found in messages.
 */
import { entries } from '../cases.js';
import { Bench, type Finding } from './bench.js';

export type Message = { readonly doing: string } | { readonly finding: Finding };

const [, , name, mode] = process.argv;
const entry = entries.find((candidate) => candidate.name === name);
if (entry === undefined) throw new Error(`no case is called '${name}'`);
const quick = mode === 'quick';
const bench = new Bench(entry.name, quick ? entry.quickSeconds : entry.seconds, quick, (doing) => tell({ doing }));
try {
  const { default: subject } = await entry.load();
  await subject.run(bench);
  await tell({ finding: bench.finding(subject.question) });
} finally {
  await bench.servers.stop();
}
process.disconnect?.();

/** Where nobody listens, it is printed: `node run-case.js codec quick` under a profiler. */
async function tell(message: Message): Promise<void> {
  if (process.send === undefined) console.log(JSON.stringify(message, null, 2));
  else await new Promise((resolve) => process.send?.(message, resolve));
}
