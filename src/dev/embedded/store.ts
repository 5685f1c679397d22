/** The whole state of one embedded store. */
import {type Blocking} from './blocking.js';
import type {Args, Client} from './client.js';
import {createShared, Database, type Shared} from './keyspace.js';
import type {PubSub} from './pubsub.js';
import {CommandError, type Reply} from './reply.js';

export const DATABASES = 16;
export const REDIS_VERSION = '7.0.15';

/** How often a command was called. */
export interface CommandStats {
  calls: number;
  rejected: number;
  failed: number;
  microseconds: number;
}

/** What the commands need from the rest. */
export interface Store {
  readonly shared: Shared;
  readonly databases: readonly Database[];
  readonly clients: Map<number, Client>;
  readonly blocking: Blocking;
  readonly pubsub: PubSub;
  readonly config: Map<string, string>;
  /** Script texts by SHA-1. */
  readonly scripts: Map<string, string>;
  /** The other way round, so that EVAL of a known text need not be hashed again. */
  readonly scriptShas: Map<string, string>;
  readonly commandStats: Map<string, CommandStats>;
  readonly errorStats: Map<string, number>;
  readonly startedAt: number;
  readonly runId: string;
  port: number;
  totalCommands: number;
  totalConnections: number;
  /** Writes are refused above this estimate. */
  maxMemoryBytes: number;
  /** The dispatch table. */
  commands(): readonly Command[];
  /** Run one command as if `client` had sent it, and give its answer instead of sending it. */
  call(client: Client, args: Args): Reply;
  /** Why a script cannot be compiled, or undefined if it can. */
  compileProblem(script: string, sha: string): string | undefined;
  /** Run a script. */
  runScript(
    client: Client,
    script: string,
    sha: string,
    keys: readonly string[],
    args: readonly string[],
    readOnly: boolean,
  ): Reply;
}

/** A command's work. */
export type Handler = (client: Client, args: Args, store: Store) => Reply;

export interface Command {
  /** In lower case; `container|subcommand` for those in two words. */
  readonly name: string;
  /** How many words it takes with its name; negative: at least so many. */
  readonly arity: number;
  readonly flags: ReadonlySet<string>;
  /** First key, last key (negative: from the end), step. */
  readonly keys: readonly [number, number, number];
  readonly handler: Handler;
}

export function createDatabases(): {shared: Shared; databases: Database[]} {
  const shared = createShared();
  return {shared, databases: Array.from({length: DATABASES}, (_, index) => new Database(index, shared))};
}

/** An argument that is optional by arity but required by the syntax. */
export function at(args: Args, index: number): string {
  const arg = args[index];
  if (arg === undefined) throw new CommandError('ERR syntax error');
  return arg;
}
