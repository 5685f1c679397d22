/** Lua scripts as typed functions. The order of keys and arguments stands here once; callers pass names. */
import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {codeFile} from '../config/package-info.js';
import {messageOf} from '../errors.js';
import type {Connection, RunOptions} from './connection.js';

export type ScriptArg = string | number | Buffer;

interface ScriptDefinition<K extends string, A extends string, R> {
  /** File name in `lua/`. Its header is its contract. */
  readonly file: string;
  readonly keys: readonly K[];
  readonly args: readonly A[];
  /** The reply holds what others wrote: text in it stays bytes. */
  readonly binary?: boolean;
  /** Checks the reply like any other input. */
  readonly reply: (raw: unknown) => R;
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
  let loaded: {source: string; sha: string} | undefined;
  const load = () => {
    if (loaded) return loaded;
    const source = readFileSync(codeFile(`src/store/lua/${definition.file}`), 'utf8');
    return (loaded = {source, sha: createHash('sha1').update(source).digest('hex')});
  };

  return async (connection, call, options) => {
    const {source, sha} = load();
    const keys = [...definition.keys.map(name => call.keys[name]), ...(call.moreKeys ?? [])];
    const args = [...definition.args.map(name => call.args[name]), ...(call.moreArgs ?? [])];
    const raw = await connection.run(async redis => {
      const {binary = false} = definition;
      try {
        return await (binary
          ? redis.callBuffer('EVALSHA', sha, keys.length, ...keys, ...args)
          : redis.evalsha(sha, keys.length, ...keys, ...args));
      } catch (error) {
        // The server was restarted or its scripts were flushed. EVAL runs the script and keeps it.
        if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
        return binary
          ? redis.callBuffer('EVAL', source, keys.length, ...keys, ...args)
          : redis.eval(source, keys.length, ...keys, ...args);
      }
    }, options);
    return definition.reply(raw);
  };
}

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
