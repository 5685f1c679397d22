/** EVAL and its relatives. */
import {createHash} from 'node:crypto';
import type {Args, Client} from './client.js';
import {LuaWriter, readArgs, readResult, ScriptFailure} from './lua-codec.js';
import {loadLua, type LuaExports} from './lua-engine.js';
import {parseInt64} from './numbers.js';
import {CommandError, ErrorReply, OK, type Reply} from './reply.js';
import type {Protocol} from './resp.js';
import type {Handler, Store} from './store.js';

/** What the interpreter needs from the store while a script runs. */
export interface ScriptHost {
  fromScript(args: string[]): Reply;
  /** 3 after `redis.setresp(3)`. */
  setProtocol(protocol: Protocol): void;
  protocol(): Protocol;
}

/** How many script texts stay in an interpreter's memory. */
const RESIDENT_SCRIPTS = 256;

const sha1 = (text: string) => createHash('sha1').update(text, 'latin1').digest('hex');

/** Compiles its argument without running it. */
const COMPILE = `local run, problem = loadstring(ARGV[1], '@user_script')
if run then return false end
return problem`;
const COMPILE_SHA = sha1(COMPILE);

/** Redis takes a script's first result, the engine its last. The parentheses cut it to one; no line moves. */
const firstResultOf = (script: string) => `return ((function() ${script}\nend)())`;

interface Engine {
  readonly exports: LuaExports;
  /** Where script texts lie in its memory. */
  readonly resident: Map<string, {pointer: number; length: number}>;
}

/**
 * Runs scripts. The engine compiles a script anew for each run (about 50 µs for 3 KB): it takes no bytecode, and a script can
 * leave nothing behind in which a compiled one could be kept. A fault in WebAssembly leaves an interpreter unusable, so a spare one stands by and takes over after any.
 */
export class LuaRunner {
  private spare: Engine | undefined;
  private readonly writer = new LuaWriter();
  /** Scripts that are known to compile. */
  private readonly compiled = new Set<string>();

  private constructor(
    private readonly host: ScriptHost,
    private engine: Engine | undefined,
  ) {}

  static async start(host: ScriptHost): Promise<LuaRunner> {
    const runner = new LuaRunner(host, undefined);
    runner.engine = await runner.newEngine();
    runner.prepareSpare();
    return runner;
  }

  /** Run a script to its end. Errors are replies, as Redis spells them. */
  run(script: string, sha: string, keys: readonly string[], args: readonly string[]): Reply {
    const {engine} = this;
    if (engine === undefined) {
      return new ErrorReply('ERR the Lua engine of the embedded store is starting again; try again');
    }
    this.host.setProtocol(2);
    let result: Reply | ScriptFailure;
    try {
      result = this.evaluate(engine, script, sha, keys, args);
    } catch (error) {
      this.engine = this.spare;
      this.spare = undefined;
      this.prepareSpare();
      const reason = error instanceof Error ? error.message : String(error);
      return new ErrorReply(`ERR the Lua engine of the embedded store failed and was replaced: ${reason}`);
    }
    if (!(result instanceof ScriptFailure)) return result;
    const problem = this.compileProblem(script, sha);
    return new ErrorReply(problem === undefined ? describe(result, sha) : compileError(problem));
  }

  /** Why a script cannot be compiled, or undefined if it can. The engine's own errors do not tell the two apart. */
  compileProblem(script: string, sha: string): string | undefined {
    if (this.engine === undefined || this.compiled.has(sha)) return undefined;
    const problem = this.evaluate(this.engine, COMPILE, COMPILE_SHA, [], [script]);
    if (typeof problem === 'string') return problem;
    if (this.compiled.size > RESIDENT_SCRIPTS) this.compiled.clear();
    this.compiled.add(sha);
    return undefined;
  }

  private evaluate(
    {exports, resident}: Engine,
    script: string,
    sha: string,
    keys: readonly string[],
    args: readonly string[],
  ): Reply | ScriptFailure {
    let text = resident.get(sha);
    if (text === undefined) {
      if (resident.size >= RESIDENT_SCRIPTS) {
        for (const {pointer} of resident.values()) exports._free_mem(pointer);
        resident.clear();
      }
      const wrapped = Buffer.from(firstResultOf(script), 'latin1');
      text = {pointer: place(exports, wrapped), length: wrapped.length};
      resident.set(sha, text);
    }
    this.writer.args(keys, args);
    const bytes = this.writer.take();
    const argsPointer = place(exports, bytes);
    const resultPointer = exports._alloc(8);
    exports._eval_with_args(resultPointer, text.pointer, text.length, argsPointer, bytes.length, keys.length);
    const heap = memory(exports);
    const pointer = heap.readUInt32LE(resultPointer);
    const length = heap.readUInt32LE(resultPointer + 4);
    const result =
      pointer === 0 || length === 0 ? null : readResult(heap.subarray(pointer, pointer + length));
    exports._free_mem(resultPointer);
    exports._free_mem(argsPointer);
    if (pointer !== 0) exports._free_mem(pointer);
    return result;
  }

  private prepareSpare(): void {
    this.newEngine().then(
      engine => {
        if (this.engine === undefined) {
          this.engine = engine;
          this.prepareSpare();
        } else {
          this.spare = engine;
        }
      },
      () => {
        // The first one loaded from the same bytes, so this is lack of memory. Scripts go on in the one there is.
      },
    );
  }

  private async newEngine(): Promise<Engine> {
    const module = await loadLua();
    const {host} = this;
    module.create({
      redisCall: () => null,
      redisPcall: () => null,
      log: () => undefined,
      onSetResp: version => {
        host.setProtocol(version === 3 ? 3 : 2);
      },
    });
    const {exports} = module;
    const call = (resultPointer = 0, pointer = 0, length = 0) => {
      const args = readArgs(memory(exports).subarray(pointer, pointer + length));
      this.writer.reply(host.fromScript(args), host.protocol());
      const bytes = this.writer.take();
      const replyPointer = place(exports, bytes);
      const heap = memory(exports);
      heap.writeUInt32LE(replyPointer, resultPointer);
      heap.writeUInt32LE(bytes.length, resultPointer + 4);
    };
    module.handlers.call = call;
    module.handlers.pcall = call;
    return {exports, resident: new Map()};
  }
}

/** A view of the interpreter's memory. It must be made anew after anything that may allocate there. */
function memory(exports: LuaExports): Buffer {
  const {buffer, byteOffset, byteLength} = exports.HEAPU8;
  return Buffer.from(buffer, byteOffset, byteLength);
}

function place(exports: LuaExports, bytes: Buffer): number {
  const pointer = exports._alloc(bytes.length);
  exports.HEAPU8.set(bytes, pointer);
  return pointer;
}

const MARK = /__RLUA_E__:([a-z-]+)(?::(.*))?$/s;
const COMPILE_ERROR = /^ERR Error compiling script/;
const compileError = (problem: string) => `ERR Error compiling script (new function): ${problem}`;

/** Redis's text for a failed script. */
function describe({text: bytes, line}: ScriptFailure, sha: string): string {
  // Redis prints it as a C string.
  const [text = ''] = bytes.split('\0', 1);
  const place = ` script: ${sha}, on @user_script:${Math.max(line, 1)}.`;
  const mark = MARK.exec(text);
  if (mark !== null) {
    const [, kind, name = ''] = mark;
    const message =
      kind === 'global-read'
        ? `user_script:${Math.max(line, 1)}: Script attempted to access nonexistent global variable '${name}'`
        : 'Lua redis lib command arguments must be strings or integers';
    return `ERR ${message}${place}`;
  }
  return `${/^[A-Z][A-Z0-9]* /.test(text) ? text : `ERR ${text}`}${place}`;
}

const FLAGS = ['no-writes', 'allow-oom', 'allow-stale', 'no-cluster', 'allow-cross-slot-keys'];

/** The first line of a script may say `#!lua flags=no-writes`. */
function shebang(script: string): {isReadOnly: boolean | undefined; body: string} {
  if (!script.startsWith('#!')) return {isReadOnly: undefined, body: script};
  const end = script.indexOf('\n');
  if (end < 0) throw new CommandError('ERR Invalid script shebang');
  const [engine, ...options] = script.slice(2, end).trim().split(/\s+/);
  if (engine !== 'lua') throw new CommandError(`ERR Unexpected engine in script shebang: #!${engine ?? ''}`);
  let isReadOnly = false;
  for (const option of options) {
    if (!option.startsWith('flags=')) throw new CommandError(`ERR Unknown lua shebang option: ${option}`);
    for (const flag of option.slice('flags='.length).split(',')) {
      if (flag === '') continue;
      if (!FLAGS.includes(flag)) throw new CommandError(`ERR Unexpected flag in script shebang: ${flag}`);
      if (flag === 'no-writes') isReadOnly = true;
    }
  }
  return {isReadOnly, body: script.slice(end)};
}

function runScript(
  client: Client,
  args: Args,
  store: Store,
  script: string,
  sha: string,
  isReadOnly: boolean,
): Reply {
  const count = parseInt64(args[2]);
  if (count === undefined) throw new CommandError('ERR value is not an integer or out of range');
  if (count > args.length - 3)
    throw new CommandError("ERR Number of keys can't be greater than number of args");
  if (count < 0) throw new CommandError("ERR Number of keys can't be negative");
  const keyCount = Number(count);
  const declared = shebang(script);
  if (isReadOnly && declared.isReadOnly === false) {
    throw new CommandError('ERR Can not execute a script with write flag using *_ro command.');
  }
  return store.runScript(
    client,
    declared.body,
    sha,
    args.slice(3, 3 + keyCount),
    args.slice(3 + keyCount),
    isReadOnly || declared.isReadOnly === true,
  );
}

const evalCommand =
  (isReadOnly: boolean): Handler =>
  (client, args, store) => {
    const script = args[1];
    const sha = store.scriptShas.get(script) ?? sha1(script);
    const reply = runScript(client, args, store, script, sha, isReadOnly);
    const isCompiled = !(reply instanceof ErrorReply && COMPILE_ERROR.test(reply.text));
    if (isCompiled && !store.scripts.has(sha)) remember(store, script, sha);
    return reply;
  };
export const evalScript = evalCommand(false);
export const evalRo = evalCommand(true);

const evalShaCommand =
  (isReadOnly: boolean): Handler =>
  (client, args, store) => {
    const sha = args[1].toLowerCase();
    const script = store.scripts.get(sha);
    if (script === undefined) throw new CommandError('NOSCRIPT No matching script. Please use EVAL.');
    return runScript(client, args, store, script, sha, isReadOnly);
  };
export const evalsha = evalShaCommand(false);
export const evalshaRo = evalShaCommand(true);

function remember(store: Store, script: string, sha: string): void {
  store.scripts.set(sha, script);
  store.scriptShas.set(script, sha);
}

export const scriptLoad: Handler = (_client, [, , script], store) => {
  const {body} = shebang(script);
  const problem = store.compileProblem(body, sha1(body));
  if (problem !== undefined) throw new CommandError(compileError(problem));
  const sha = sha1(script);
  remember(store, script, sha);
  return sha;
};

export const scriptExists: Handler = (_client, args, {scripts}) =>
  args.slice(2).map(sha => (scripts.has(sha.toLowerCase()) ? 1 : 0));

export const scriptFlush: Handler = (_client, args, {scripts, scriptShas}) => {
  const how = args.length > 2 ? args[2].toUpperCase() : 'SYNC';
  if (args.length > 3 || (how !== 'SYNC' && how !== 'ASYNC')) {
    throw new CommandError('ERR SCRIPT FLUSH only support SYNC|ASYNC option');
  }
  scripts.clear();
  scriptShas.clear();
  return OK;
};

/** A script runs to its end before anyone else is heard, so none is ever running here. */
export const scriptKill: Handler = () => {
  throw new CommandError('NOTBUSY No scripts in execution right now.');
};

/** There are no functions; these two answer so that tools which tidy up before they start go on. */
export const functionFlush: Handler = () => OK;
export const functionList: Handler = () => [];
