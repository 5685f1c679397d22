/** Lua scripts as typed functions. The order of keys and arguments stands here once; callers pass names. */
import {readFileSync} from 'node:fs';
import {codeFile} from '../config/package-info.js';
import type {Connection, RunOptions} from './connection.js';
import {loaded, runScript, type Loaded, type ScriptArg} from './run-script.js';
import {Batches, joined} from './script-batch.js';

/** Scripts that are no steps of their own: local functions for those after them. */
type Prelude =
  | 'records.lua'
  | 'resumed.lua'
  | 'cancelled.lua'
  | 'begun.lua'
  | 'quota-window.lua'
  | 'end-turn.lua'
  | 'append-rest.lua'
  | 'keep-answer.lua'
  | 'orch-sched-failure.lua';

interface ScriptDefinition<K extends string, A extends string, R> {
  /** File name in `lua/`. Its header is its contract. */
  readonly file: string;
  /** What comes before it, in this order. Their headers say what they need before themselves. */
  readonly before?: readonly Prelude[];
  /** Scripts it runs as parts of its own step, each a function of KEYS and ARGV that goes by its file's name. */
  readonly runs?: readonly string[];
  readonly keys: readonly K[];
  readonly args: readonly A[];
  /** It writes nothing: users who may only look may run it. Not for scripts that are joined. */
  readonly reads?: true;
  /** The reply holds what others wrote: text in it stays bytes. */
  readonly binary?: boolean;
  /** Checks the reply like any other input. */
  readonly reply: (raw: unknown) => R;
  /** Calls made in the same turn of the event loop go to a single server as one: see script-batch.ts. */
  readonly joins?: true;
}

export interface ScriptCall<K extends string, A extends string> {
  readonly keys: Readonly<Record<K, string>>;
  readonly args: Readonly<Record<A, ScriptArg>>;
  /** Keys after the named ones, for scripts that take a list. */
  readonly moreKeys?: readonly string[];
  /** Arguments after the named ones. */
  readonly moreArgs?: readonly ScriptArg[];
}

export type Script<K extends string, A extends string, R> = (
  connection: Connection,
  call: ScriptCall<K, A>,
  options?: RunOptions,
) => Promise<R>;

export function defineScript<const K extends string, const A extends string, R>(
  definition: ScriptDefinition<K, A, R>,
): Script<K, A, R> {
  let single: Loaded | undefined;
  const {before = [], runs = [], file} = definition;
  const preludes = () => [...before.map(readScript), ...runs.map(asFunction)];
  const load = () => (single ??= loaded([...preludes(), readScript(file)].join('\n')));
  const batches = definition.joins
    ? new Batches(load, () => loaded(joined(preludes().join('\n'), readScript(file))))
    : undefined;

  const {keys: keyNames, args: argNames, binary = false, reads = false, reply} = definition;

  return (connection, call, options = {}) => {
    const keys: string[] = [];
    const args: ScriptArg[] = [];
    for (const name of keyNames) keys.push(call.keys[name]);
    for (const key of call.moreKeys ?? []) keys.push(key);
    for (const name of argNames) args.push(call.args[name]);
    for (const arg of call.moreArgs ?? []) args.push(arg);
    const raw = batches
      ? batches.run(connection, {keys, args}, options)
      : runScript(connection, load(), {keys, args}, {...options, binary, reads});
    return raw.then(reply);
  };
}

const readScript = (file: string): string => readFileSync(codeFile(`src/store/lua/${file}`), 'utf8');

const asFunction = (file: string): string =>
  `local function ${file.replace('.lua', '')}(KEYS, ARGV)\n${readScript(file)}\nend`;

export const flag = (raw: unknown): boolean => raw === 1;

export function integer(raw: unknown): number {
  if (typeof raw !== 'number') throw new TypeError(`a script answered ${typeof raw} where a number was due`);
  return raw;
}

/** A reply that is an array whose items are text (nil becomes ''). */
export function texts(raw: unknown): string[] {
  if (!Array.isArray(raw)) throw new TypeError(`a script answered ${typeof raw} where an array was due`);
  return raw.map((item: unknown) =>
    typeof item === 'string' ? item : typeof item === 'number' ? String(item) : '',
  );
}
