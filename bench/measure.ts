/** Runs one job in a fresh process and returns what it found. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import {text} from 'node:stream/consumers';
import type {Jobs} from './jobs.js';
import {interrupted} from './server.js';

/** A measurement that takes longer than this hangs. */
const LIMIT_MS = 180_000;
/** Of what a failed child wrote to standard error, its end. */
const SHOWN = 2000;

export async function measure<J extends keyof Jobs>(
  job: J,
  ...args: Parameters<Jobs[J]>
): Promise<Awaited<ReturnType<Jobs[J]>>> {
  const script = join(import.meta.dirname, 'child.ts');
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', script, job, JSON.stringify(args)],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      signal: interrupted.signal,
      timeout: LIMIT_MS,
    },
  );
  let complaints = '';
  // Read to its end, or a child that logs would wait for room in the pipe.
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    complaints = (complaints + piece).slice(-SHOWN);
  });
  const [output, [code]] = await Promise.all([
    text(child.stdout),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  if (code !== 0) throw new Error(`${job}(${args.join(', ')}) ended with ${code}:\n${complaints}`);
  const {value} = JSON.parse(output.trimEnd().split('\n').at(-1) ?? '') as {
    value: Awaited<ReturnType<Jobs[J]>>;
  };
  return value;
}
