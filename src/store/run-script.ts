/** Runs a Lua script by its digest, and gives its text only to a server that does not know it. */
import {createHash} from 'node:crypto';
import {Redis} from 'ioredis';
import {messageOf} from '../errors.js';
import {awaitReplica} from './durability.js';
import type {RedisClient} from './client.js';
import type {Connection, RunOptions} from './connection.js';
import {ScriptCommand} from './script-command.js';

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

const WRITING = ['EVALSHA', 'EVAL'] as const;
/** The server refuses writes of these, so users who may only look may run them. */
const READING = ['EVALSHA_RO', 'EVAL_RO'] as const;

export function runScript(
  connection: Connection,
  {source, sha}: Loaded,
  call: RawCall,
  options: RunOptions & {readonly binary?: boolean; readonly reads?: boolean},
): Promise<unknown> {
  const [bySha, bySource] = options.reads ? READING : WRITING;
  const {binary = false} = options;
  return connection.run(async redis => {
    let reply: unknown;
    try {
      reply = await issue(redis, bySha, sha, call, binary);
    } catch (error) {
      // The server was restarted or its scripts were flushed. Given whole, the script is run and kept.
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      reply = await issue(redis, bySource, source, call, binary);
    }
    // On the same connection, because that is whose writes are waited for.
    if (options.awaitReplica) await awaitReplica(redis);
    return reply;
  }, options);
}

function issue(
  redis: RedisClient,
  command: string,
  script: string,
  call: RawCall,
  binary: boolean,
): Promise<unknown> {
  const {keys, args} = call;
  if (redis instanceof Redis)
    return redis.sendCommand(new ScriptCommand(command, script, call, {binary})) as Promise<unknown>;
  // The node that gets it is found by its keys.
  return binary
    ? redis.callBuffer(command, script, keys.length, ...keys, ...args)
    : redis.call(command, script, keys.length, ...keys, ...args);
}
