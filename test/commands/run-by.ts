/** Runs the built `by` as a user does, in a process of its own. */
import {spawn} from 'node:child_process';
import {resolve} from 'node:path';
import {expect} from 'vitest';
import {skewedClock} from '../support/skewed-clock.js';

/** What no text of a command may hold: it would change the terminal, or the order of what is read. */
export const ESCAPES = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]/;

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The JSON document on standard output. */
  json(): {readonly ok: boolean; readonly schema: string; readonly data?: never; readonly error?: never};
}

const bin = resolve(import.meta.dirname, '../../bin/by.js');

/** What the developer's shell says about Redis must not reach the tests. */
const cleanEnv = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(BY_|BYAI_|REDIS_|NO_COLOR|FORCE_COLOR|CI$|EDITOR$|VISUAL$)/.test(name),
  ),
);

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  readonly cwd?: string;
  /** How far its clock is ahead; negative if behind. */
  readonly skewMs?: number;
}

export function startBy(args: readonly string[], {env = {}, cwd, input, skewMs = 0}: RunOptions = {}) {
  const child = spawn(process.execPath, [...skewedClock(skewMs), bin, ...args], {
    cwd: cwd ?? '/',
    env: {...cleanEnv, ...env},
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  return child;
}

export async function runBy(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = startBy(args, options);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await new Promise<number | null>(done => child.once('close', done));
  return {code, stdout, stderr, json: () => JSON.parse(stdout) as ReturnType<Ran['json']>};
}

/** Asks `by` for JSON, on one server. */
export function jsonOf(run: (...args: readonly string[]) => Promise<Ran>) {
  return {
    /** What a command that succeeds says. */
    data: async (...args: readonly string[]) => {
      const ran = await run(...args, '--json');
      expect(ran.stdout + ran.stderr).not.toMatch(ESCAPES);
      const document = ran.json() as unknown as {data: Record<string, unknown>};
      expect(document).toMatchObject({ok: true});
      return document.data;
    },
    /** What one that fails says. */
    failure: async (...args: readonly string[]) => {
      const ran = await run(...args, '--json');
      const document = ran.json() as unknown as {error: Record<string, unknown>};
      expect(document).toMatchObject({ok: false, schema: 'by.error/1', error: {exit: ran.code}});
      return document.error;
    },
  };
}
