/** Trying plugins without a worker: in a process of its own, which may hang or die. */
import {fork} from 'node:child_process';
import {codeFile, isBuilt} from '../config/package-info.js';
import {ByError, errorCodes, type ErrorCode} from '../errors.js';

export interface CheckJob {
  /** Full path of a file or folder. */
  readonly path: string;
  /** Handed to the plugins as a worker would. */
  readonly agentTypes: readonly string[];
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface PluginFinding {
  readonly level: 'ok' | 'warning' | 'problem';
  /** The plugin. */
  readonly about: string;
  readonly text: string;
  readonly fix?: string;
}

export interface CheckedPlugins {
  readonly plugins: readonly {
    readonly name: string;
    readonly version: string;
    readonly description: string;
    readonly source: string;
  }[];
  readonly agentIds: readonly string[];
  readonly findings: readonly PluginFinding[];
}

export type FromCheck =
  | {readonly kind: 'checked'; readonly checked: CheckedPlugins}
  | {
      readonly kind: 'failed';
      readonly code: string;
      readonly message: string;
      readonly hint: string;
      readonly details: Readonly<Record<string, unknown>>;
    };

export interface CheckRun extends CheckedPlugins {
  /** What the plugins wrote while they were loaded, to either output. */
  readonly printed: string;
}

/** Characters of what plugins print that are kept. */
const MAX_PRINTED = 16_384;

/**
 * @param timeoutMs for all of it: code in an endless loop is ended.
 * @throws {ByError} PLUGIN_LOAD_FAILED, DENIED: as the worker would.
 */
export async function checkPlugins(job: CheckJob, timeoutMs: number): Promise<CheckRun> {
  const child = fork(codeFile(`src/plugins/check-process.${isBuilt() ? 'js' : 'ts'}`), {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execArgv: isBuilt() ? [] : ['--import', 'tsx'],
  });
  let printed = '';
  for (const output of [child.stdout, child.stderr])
    output?.setEncoding('utf8').on('data', (text: string) => {
      printed = (printed + text).slice(0, MAX_PRINTED);
    });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  try {
    const answered = new Promise<FromCheck | undefined>(resolve => {
      child.once('message', message => resolve(message as FromCheck));
      child.once('close', () => resolve(undefined));
      child.once('error', () => resolve(undefined));
    });
    child.send(job);
    const answer = await answered;
    if (answer === undefined) throw ended(job.path, isLate, timeoutMs, printed);
    if (answer.kind === 'checked') return {...answer.checked, printed};
    const code = errorCodes.find(one => one === answer.code) ?? ('INTERNAL' satisfies ErrorCode);
    throw new ByError(code, answer.message, {hint: answer.hint, details: answer.details});
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}

function ended(path: string, isLate: boolean, timeoutMs: number, printed: string): ByError {
  const last = printed.trim().split('\n').at(-1) ?? '';
  return new ByError(
    'PLUGIN_LOAD_FAILED',
    isLate
      ? `${path} was not loaded within ${timeoutMs / 1000} s.`
      : `${path} ended the process that loaded it${last === '' ? '.' : `: ${last.slice(0, 300)}`}`,
    {hint: 'See what it does while it is imported: that must neither block nor exit.'},
  );
}
