/**
 * What a tool call is, for those who allow it: a program with its arguments, or a tool with its input. An answer binds
 * exactly that: whoever changes a word asks again.
 */
import {createHash} from 'node:crypto';
import {constants} from 'node:fs';
import {access, realpath} from 'node:fs/promises';
import {basename, delimiter, isAbsolute, join, resolve} from 'node:path';
import picomatch from 'picomatch';
import {ByError} from '../errors.js';
import {canonical} from '../protocol/orchestration/command.js';

/** A call of a tool, or the start of a program. */
export interface ToolSubject {
  /** The tool's name; `exec` for a program. */
  readonly tool: string;
  /** The program as the file it is, links followed, then its arguments; for `exec` only. */
  readonly argv?: readonly string[];
  /** Where it is started; for `exec` only. */
  readonly cwd?: string;
  /** Names of what it is given of an environment, sorted; for `exec` only. Values may be secrets. */
  readonly envKeys?: readonly string[];
  /** SHA-256 of a tool's input as canonical JSON, hex. */
  readonly argsHash?: string;
}

/** Who asks: an answer for one agent in one session says nothing about another. */
export interface ToolCaller {
  readonly agentType: string;
  readonly sessionId: string;
}

export const subjectHash = (subject: ToolSubject, {agentType, sessionId}: ToolCaller): string =>
  sha256({...subject, agentType, sessionId});

export const argsHash = (args: unknown): string => sha256(args);

const sha256 = (value: unknown): string =>
  createHash('sha256')
    .update(canonical(value ?? null))
    .digest('hex');

/** The file a program's name stands for. @throws {ByError} NOT_FOUND */
export async function resolveProgram(name: string, cwd: string, path: string): Promise<string> {
  const candidates = name.includes('/')
    ? [isAbsolute(name) ? name : resolve(cwd, name)]
    : path.split(delimiter).map(folder => join(folder, name));
  for (const candidate of candidates) {
    try {
      await access(candidate, constants.X_OK);
      return await realpath(candidate);
    } catch {
      // The next folder may have it.
    }
  }
  throw new ByError('NOT_FOUND', `There is no program "${name}".`, {
    hint: 'Install it where the worker runs, or name another one.',
  });
}

/** Programs that run whatever their arguments say: to allow one for ever would be to allow everything. */
const RUNS_ANYTHING =
  /^(?:(?:ba|da|z|fi|k|c|tc)?sh|busybox|env|xargs|sudo|su|doas|nohup|setsid|timeout|find|awk|gawk|mawk|sed|perl|ruby|php|lua|node|deno|bun|npx|npm|python|python\d[\d.]*|ssh|make|git)$/;

/** A pattern that always allows this, or why there can be none. */
export function allowPattern(subject: ToolSubject): {readonly pattern: string} | {readonly refusal: string} {
  const [program] = subject.argv ?? [];
  if (program === undefined) return {pattern: `tool:${subject.tool}`};
  if (RUNS_ANYTHING.test(basename(program)))
    return {refusal: `${basename(program)} runs whatever it is told to: it can be allowed once, not always.`};
  if (subject.cwd !== undefined && program.startsWith(`${subject.cwd}/`))
    return {refusal: 'It lies where the agent may write: tomorrow it may be something else.'};
  return {pattern: escapeGlob(program)};
}

const escapeGlob = (path: string): string => path.replaceAll(/[\\*?[\]{}()!+@|]/g, '\\$&');

/**
 * @param patterns `tool:NAME`, or globs of absolute paths of programs. A pattern that begins with neither `tool:` nor
 *   `/` allows nothing.
 */
export function isAllowed(subject: ToolSubject, patterns: readonly string[]): boolean {
  const [program] = subject.argv ?? [];
  if (program === undefined) return patterns.includes(`tool:${subject.tool}`);
  return patterns.some(
    pattern => pattern.startsWith('/') && picomatch.isMatch(program, pattern, {dot: true}),
  );
}

export type ToolVerdict = 'run' | 'ask' | 'deny';

/** What becomes of a call before anybody is asked: orchestration.md §10.3. */
export function judgeToolCall(
  {
    security,
    ask,
  }: {readonly security: 'deny' | 'allowlist' | 'full'; readonly ask: 'off' | 'on-miss' | 'always'},
  isListed: boolean,
): ToolVerdict {
  if (security === 'deny') return 'deny';
  if (ask === 'always') return 'ask';
  if (security === 'full' || isListed) return 'run';
  return ask === 'on-miss' ? 'ask' : 'deny';
}
