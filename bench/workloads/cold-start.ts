/** `cold-start`: how long `by` takes from nothing, beside node itself, and what `by --help` loads. */
import {execFile} from 'node:child_process';
import {existsSync} from 'node:fs';
import {join, resolve} from 'node:path';
import {promisify} from 'node:util';
import type {BenchOptions} from '../options.js';
import {budget, reportRatio, reportValues, say} from '../report.js';
import {interrupted, withServer} from '../server.js';
import {median, ratios} from '../stats.js';
import {loadedBy} from './module-graph.js';

const root = resolve(import.meta.dirname, '../..');
const by = join(root, 'bin', 'by.js');
const run = promisify(execFile);

/** Starting a process varies more than working in one. */
const STARTS_A_ROUND = 5;
/** What help must not pay for. */
const HEAVY = ['ink', 'react', 'ioredis', 'pino'] as const;

const COMMANDS = {
  'node -e 0': {args: ['-e', '0']},
  'by --version': {args: [by, '--version'], most: 1.5},
  'by --help': {args: [by, '--help']},
  'by worker list --json': {args: [by, 'worker', 'list', '--json'], most: 3.5},
} as const satisfies Record<string, {args: readonly string[]; most?: number}>;
type CommandName = keyof typeof COMMANDS;

export async function coldStart({rounds}: BenchOptions): Promise<void> {
  if (!(await isBuilt())) return;
  await withServer(url => timeCommands(url, rounds * STARTS_A_ROUND));
  const loaded = await loadedBy([by, '--help'], HEAVY);
  budget(
    'by --help loads neither Ink, React, ioredis nor pino',
    loaded.length === 0,
    loaded.join(', ') || 'none',
  );
}

/** The command runs what was built, so what was built has to be what is here. */
async function isBuilt(): Promise<boolean> {
  try {
    await run(process.execPath, [join(root, 'scripts', 'build.js'), '--if-stale'], {
      signal: interrupted.signal,
    });
    return true;
  } catch {
    if (interrupted.signal.aborted) throw new Error('interrupted');
    const hasOld = existsSync(join(root, 'dist', 'commands'));
    say(
      hasOld
        ? '  the sources do not build (npm run build says why): what was built before is measured'
        : '  skipped: nothing is built, and the sources do not build (npm run build says why)',
    );
    return hasOld;
  }
}

async function timeCommands(url: string, starts: number): Promise<void> {
  const names = Object.keys(COMMANDS) as CommandName[];
  const times = new Map<CommandName, number[]>(names.map(name => [name, []]));
  // The first start of each reads from the disk.
  for (const name of names) await timeStart(name, url);
  for (let i = 0; i < starts; i++) {
    for (const [name, found] of times) found.push(await timeStart(name, url));
  }
  const bare = times.get('node -e 0') ?? [];
  for (const [name, found] of times) {
    reportValues('cold start', name, 'ms', found);
    if (found === bare) continue;
    reportRatio('cold start', `${name} / node`, found, bare);
    const command = COMMANDS[name];
    if (!('most' in command)) continue;
    const ratio = median(ratios(found, bare));
    budget(`${name} within ${command.most} x node -e 0`, ratio <= command.most, `${ratio.toFixed(2)} x`);
  }
}

/** Milliseconds from the start of the process to its end. */
async function timeStart(name: CommandName, url: string): Promise<number> {
  const startedAt = performance.now();
  await run(process.execPath, COMMANDS[name].args, {
    env: {...process.env, BY_REDIS_URL: url},
    signal: interrupted.signal,
  });
  return performance.now() - startedAt;
}
