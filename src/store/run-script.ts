/** Runs a Lua script by its digest, and gives its text only to a server that does not know it. */
import {createHash} from 'node:crypto';
import {messageOf} from '../errors.js';
import {awaitReplica} from './durability.js';
import type {RedisClient} from './client.js';
import type {Connection, RunOptions} from './connection.js';

export type ScriptArg = string | number | Buffer;

export interface Loaded {
  readonly source: string;
  readonly sha: string;
}

export const loaded = (source: string): Loaded => ({
  source,
  sha: createHash('sha1').update(source).digest('hex'),
});

export interface RawCall {
  readonly keys: readonly string[];
  readonly args: readonly ScriptArg[];
}

export function runScript(
  connection: Connection,
  {source, sha}: Loaded,
  {keys, args}: RawCall,
  options: RunOptions & {readonly binary?: boolean},
): Promise<unknown> {
  const run = (redis: RedisClient, command: 'EVAL' | 'EVALSHA', script: string) =>
    options.binary
      ? redis.callBuffer(command, script, keys.length, ...keys, ...args)
      : redis.call(command, script, keys.length, ...keys, ...args);
  return connection.run(async redis => {
    let reply: unknown;
    try {
      reply = await run(redis, 'EVALSHA', sha);
    } catch (error) {
      // The server was restarted or its scripts were flushed. EVAL runs the script and keeps it.
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      reply = await run(redis, 'EVAL', source);
    }
    // On the same connection, because that is whose writes are waited for.
    if (options.awaitReplica) await awaitReplica(redis);
    return reply;
  }, options);
}
