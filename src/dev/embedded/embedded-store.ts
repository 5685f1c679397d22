/** Runs commands: looks them up, checks them, counts them, and answers whoever was waiting for what they changed. */
import {randomBytes} from 'node:crypto';
import {Blocking} from './blocking.js';
import {Client, type Args} from './client.js';
import {allCommands, lookUp, type Lookup} from './commands.js';
import {defaultConfig} from './info.js';
import type {Database, Shared} from './keyspace.js';
import {PubSub} from './pubsub.js';
import {CommandError, ErrorReply, QUEUED, type Reply} from './reply.js';
import type {Protocol} from './resp.js';
import {LuaRunner, type ScriptHost} from './scripting.js';
import {createDatabases, type Command, type CommandStats, type Store} from './store.js';
import {unwatchAll} from './transactions.js';

const OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'.";

/** Shown in the reply to an unknown command. */
const MAX_SHOWN = 128;

export class EmbeddedRedis implements Store, ScriptHost {
  readonly shared: Shared;
  readonly databases: readonly Database[];
  readonly clients = new Map<number, Client>();
  readonly blocking: Blocking;
  readonly pubsub = new PubSub();
  readonly config: Map<string, string>;
  readonly scripts = new Map<string, string>();
  readonly scriptShas = new Map<string, string>();
  readonly commandStats = new Map<string, CommandStats>();
  readonly errorStats = new Map<string, number>();
  readonly startedAt = Date.now();
  readonly runId = randomBytes(20).toString('hex');
  port = 0;
  totalCommands = 0;
  totalConnections = 0;
  private lua: LuaRunner | undefined;
  /** Stands for whoever runs the script, as Redis has one for all. */
  private readonly scriptClient: Client;
  private isReadOnlyScript = false;
  private isScriptOutOfMemory = false;

  /** @param onWake See `Blocking`. */
  constructor(
    public maxMemoryBytes: number,
    onWake: (client: Client) => void,
  ) {
    const {shared, databases} = createDatabases();
    this.shared = shared;
    this.databases = databases;
    this.config = defaultConfig(maxMemoryBytes);
    this.blocking = new Blocking(shared, onWake);
    const ignore = () => undefined;
    this.scriptClient = new Client(0, '', '', this.firstDatabase, this.startedAt, ignore, ignore);
    this.scriptClient.mayBlock = false;
    this.scriptClient.isScript = true;
  }

  get firstDatabase(): Database {
    const [first] = this.databases;
    if (first === undefined) throw new Error('a store has databases');
    return first;
  }

  /** Load the Lua interpreter. Scripts cannot run before. */
  async start(): Promise<void> {
    this.lua = await LuaRunner.start(this);
  }

  commands(): readonly Command[] {
    return allCommands();
  }

  /** Run one command of a connection and send its answer. */
  execute(client: Client, words: string[]): void {
    const args = words as unknown as Args;
    client.lastUsedAt = this.shared.now;
    if (client.replyMode === 'skip-next') client.replyMode = 'skip';
    client.send(this.answer(client, args));
    if (client.replyMode === 'skip') client.replyMode = 'on';
    if (this.shared.ready.length > 0) this.blocking.serveReady();
  }

  /** A connection has ended. */
  forget(client: Client): void {
    this.clients.delete(client.id);
    this.blocking.remove(client);
    this.pubsub.forget(client);
    unwatchAll(client);
  }

  /** Remove keys whose time has come, some at a time. */
  expireSome(most: number): void {
    const {shared} = this;
    for (let i = 0; i < most; i++) {
      const entry = shared.expiry.takeDue(shared.now);
      if (entry === undefined) break;
      entry.db.expire(entry);
    }
    if (shared.ready.length > 0) this.blocking.serveReady();
  }

  call(client: Client, args: Args): Reply {
    const found = lookUp(args);
    if (found.kind !== 'found') return new ErrorReply('ERR unknown command');
    return this.run(client, found.command, args);
  }

  private answer(client: Client, args: Args): Reply {
    const found = lookUp(args);
    if (found.kind !== 'found') return this.refuse(client, undefined, unknownText(found, args));
    const {command} = found;
    const {flags} = command;
    client.lastCommand = command.name;
    if (!hasArity(command, args)) {
      return this.refuse(client, command, `ERR wrong number of arguments for '${command.name}' command`);
    }
    if (flags.has('m') && this.isFull) return this.refuse(client, command, OUT_OF_MEMORY);
    if (client.protocol === 2 && client.isSubscribed && !flags.has('c')) {
      return this.refuse(
        client,
        command,
        `ERR Can't execute '${command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`,
      );
    }
    const {transaction} = client;
    if (transaction !== undefined && !flags.has('t')) {
      transaction.queue.push(args);
      return QUEUED;
    }
    return this.run(client, command, args);
  }

  private get isFull(): boolean {
    return this.maxMemoryBytes > 0 && this.shared.usedBytes > this.maxMemoryBytes;
  }

  /** A refusal before the command ran. Inside MULTI it fails the whole transaction. */
  private refuse(client: Client, command: Command | undefined, text: string): ErrorReply {
    if (client.transaction !== undefined) client.transaction.hasFailed = true;
    if (command !== undefined) this.statsOf(command.name).rejected++;
    this.countError(text);
    return new ErrorReply(text);
  }

  private run(client: Client, command: Command, args: Args): Reply {
    const started = performance.now();
    let reply: Reply;
    try {
      reply = command.handler(client, args, this);
    } catch (error) {
      // Anything else is a bug here, or a value beyond what JavaScript can hold. The others must not lose their store for it.
      reply = new ErrorReply(
        error instanceof CommandError
          ? error.message
          : `ERR the embedded store failed in '${command.name}': ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    // Only now: CONFIG RESETSTAT has thrown the old ones away.
    const stats = this.statsOf(command.name);
    stats.calls++;
    this.totalCommands++;
    stats.microseconds += (performance.now() - started) * 1000;
    if (reply instanceof ErrorReply) {
      stats.failed++;
      this.countError(reply.text);
    }
    return reply;
  }

  private statsOf(name: string): CommandStats {
    let stats = this.commandStats.get(name);
    if (stats === undefined) {
      stats = {calls: 0, rejected: 0, failed: 0, microseconds: 0};
      this.commandStats.set(name, stats);
    }
    return stats;
  }

  private countError(text: string): void {
    const code = text.slice(0, text.indexOf(' '));
    this.errorStats.set(code, (this.errorStats.get(code) ?? 0) + 1);
  }

  runScript(
    client: Client,
    script: string,
    sha: string,
    keys: readonly string[],
    args: readonly string[],
    readOnly: boolean,
  ): Reply {
    if (this.lua === undefined) return new ErrorReply('LOADING the Lua engine is starting');
    this.scriptClient.db = client.db;
    this.isReadOnlyScript = readOnly;
    this.isScriptOutOfMemory = this.isFull;
    return this.lua.run(script, sha, keys, args);
  }

  compileProblem(script: string, sha: string): string | undefined {
    return this.lua?.compileProblem(script, sha);
  }

  /** `redis.call` and `redis.pcall`. */
  fromScript(words: string[]): Reply {
    if (words.length === 0) {
      return new ErrorReply('ERR Please specify at least one argument for this redis lib call');
    }
    const args = words as unknown as Args;
    const found = lookUp(args);
    if (found.kind === 'left out') return new ErrorReply(unknownText(found, args));
    if (found.kind !== 'found') return new ErrorReply('ERR Unknown Redis command called from script');
    const {command} = found;
    const refuse = (text: string) => this.refuse(this.scriptClient, command, text);
    if (!hasArity(command, args)) return refuse('ERR Wrong number of args calling Redis command from script');
    if (command.flags.has('s')) return refuse('ERR This Redis command is not allowed from script');
    if (this.isReadOnlyScript && (command.flags.has('w') || command.flags.has('M'))) {
      return refuse('ERR Write commands are not allowed from read-only scripts.');
    }
    if (this.isScriptOutOfMemory && command.flags.has('m')) return refuse(OUT_OF_MEMORY);
    return this.run(this.scriptClient, command, args);
  }

  setProtocol(protocol: Protocol): void {
    this.scriptClient.protocol = protocol;
  }

  protocol(): Protocol {
    return this.scriptClient.protocol;
  }
}

function hasArity({arity}: Command, args: readonly string[]): boolean {
  return arity < 0 ? args.length >= -arity : args.length === arity;
}

function unknownText(found: Exclude<Lookup, {kind: 'found'}>, args: readonly string[]): string {
  const [name = '', sub = ''] = args;
  switch (found.kind) {
    case 'left out':
      return `ERR the embedded store does not have ${name.toUpperCase()}: it is for development and tests. Use --redis-url with a real server.`;
    case 'incomplete':
      return `ERR wrong number of arguments for '${found.name}' command`;
    case 'unknown subcommand':
      return `ERR unknown subcommand '${sub.slice(0, MAX_SHOWN)}'. Try ${name.toUpperCase()} HELP.`;
    case 'unknown': {
      let shown = '';
      for (const arg of args.slice(1)) {
        if (shown.length >= MAX_SHOWN) break;
        shown += `'${arg.slice(0, MAX_SHOWN - shown.length)}' `;
      }
      return `ERR unknown command '${name.slice(0, MAX_SHOWN)}', with args beginning with: ${shown}`;
    }
  }
}
