/**
 * Calls of one script that are made in the same turn of the event loop go to the server as one script: the round trip,
 * the client's work for a command, and the server's work to begin a script are paid once for all of them. Each call
 * stays a step of its own: one that fails does not touch the others. Only on a single server, for a Cluster refuses a
 * script over several slots.
 */
import {messageOf} from '../errors.js';
import type {Connection, RunOptions} from './connection.js';
import {toByError} from './redis-errors.js';
import {runScript, type Loaded, type RawCall, type ScriptArg} from './run-script.js';

/** Calls in one script: the server does nothing else meanwhile, so it must stay well below a millisecond or two. */
const MAX_CALLS = 32;

/** A call with more arguments goes alone: Lua has room for some thousands at once. */
const MAX_ARGS = 1000;

interface Waiting {
  readonly call: RawCall;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls on one connection that are to run in one way. */
interface Way {
  waiting: Waiting[];
  /** The end of this turn is already being waited for. */
  scheduled: boolean;
  /**
   * How many calls went together last time. While they come one by one each is sent at once: waiting for the end of the
   * turn would cost an idle task more than it saves. While there are many, waiting is what brings them together.
   */
  lately: number;
}

export class Batches {
  private readonly ways = new WeakMap<Connection, Map<string, Way>>();
  private together: Loaded | undefined;

  /** @param loadJoined the same script for several calls: {@link joined}. */
  constructor(
    private readonly load: () => Loaded,
    private readonly loadJoined: () => Loaded,
  ) {}

  run(connection: Connection, call: RawCall, options: RunOptions): Promise<unknown> {
    const {knownCluster} = connection;
    if (knownCluster === undefined)
      return connection.isCluster().then(() => this.run(connection, call, options));
    if (knownCluster || call.args.length > MAX_ARGS) return runScript(connection, this.load(), call, options);
    const way = this.wayOf(connection, options);
    return new Promise((resolve, reject) => {
      const item = {call, resolve, reject};
      const isFirst = !way.scheduled;
      if (isFirst) this.schedule(connection, way, options);
      if (isFirst && way.lately <= 1) this.send(connection, [item], options);
      else way.waiting.push(item);
    });
  }

  private wayOf(connection: Connection, options: RunOptions): Way {
    let ways = this.ways.get(connection);
    if (ways === undefined) this.ways.set(connection, (ways = new Map<string, Way>()));
    const name = `${options.retryForMs ?? 0}/${options.timeoutMs ?? 0}/${options.awaitReplica ?? false}`;
    let way = ways.get(name);
    if (way === undefined) ways.set(name, (way = {waiting: [], scheduled: false, lately: 0}));
    return way;
  }

  private schedule(connection: Connection, way: Way, options: RunOptions): void {
    way.scheduled = true;
    setImmediate(() => {
      const calls = way.waiting;
      way.waiting = [];
      way.scheduled = false;
      way.lately = calls.length;
      for (let from = 0; from < calls.length; from += MAX_CALLS)
        this.send(connection, calls.slice(from, from + MAX_CALLS), options);
    });
  }

  private send(connection: Connection, calls: readonly Waiting[], options: RunOptions): void {
    const [only] = calls;
    if (calls.length === 1 && only !== undefined) {
      runScript(connection, this.load(), only.call, options).then(only.resolve, only.reject);
      return;
    }
    this.together ??= this.loadJoined();
    runScript(connection, this.together, joinedCall(calls), options).then(
      replies => settle(calls, replies),
      (error: unknown) => {
        for (const {reject} of calls) reject(error);
      },
    );
  }
}

/** Loops, not flatMap: with a hundred tasks under way this is one of the places that cost most. */
function joinedCall(calls: readonly Waiting[]): RawCall {
  const keys: string[] = [];
  const args: ScriptArg[] = [calls.length];
  for (const {call} of calls) args.push(call.keys.length, call.args.length);
  for (const {call} of calls) {
    for (const key of call.keys) keys.push(key);
    for (const arg of call.args) args.push(arg);
  }
  return {keys, args};
}

/**
 * The script as a function, run for each call: ARGV is the number of calls, keys and arguments of each, all arguments.
 * @param before what is the same for all calls, and made once.
 */
export const joined = (before: string, script: string) => `${before}
local function step(KEYS, ARGV)
${script}
end
local calls = tonumber(ARGV[1])
local replies, key, arg = {}, 0, 1 + 2 * calls
for i = 1, calls do
  local last_key, last_arg = key + tonumber(ARGV[2 * i]), arg + tonumber(ARGV[2 * i + 1])
  local ok, reply = pcall(step, {unpack(KEYS, key + 1, last_key)}, {unpack(ARGV, arg + 1, last_arg)})
  key, arg = last_key, last_arg
  if ok then replies[i] = {1, reply}
  else replies[i] = {0, type(reply) == 'table' and reply.err or tostring(reply)} end
end
return replies
`;

function settle(calls: readonly Waiting[], replies: unknown): void {
  calls.forEach(({resolve, reject}, i) => {
    const reply: unknown = Array.isArray(replies) ? replies[i] : undefined;
    const [ok, value] = Array.isArray(reply) ? (reply as unknown[]) : [];
    // A script may also return an error that it caught.
    if (ok === 1 && !(value instanceof Error)) resolve(value);
    else reject(errorOf(value));
  });
}

/** As if the call had gone alone: the same errors have the same codes. */
function errorOf(value: unknown): unknown {
  const error =
    value instanceof Error ? value : new Error(messageOf(value ?? 'a joined script did not answer'));
  return toByError(error, 'the configured address');
}
