/**
 * A worker process: one connection for commands, one that waits on its agent types' streams, one that waits on its
 * own stream, so that a cancel is heard while every slot is taken.
 */
import {alarmFull, FULL_RETRY_MS} from '../availability/full-letters.js';
import {resolve} from 'node:path';
import {networkInterfaces} from 'node:os';
import {backoffMs} from '../backoff.js';
import {sleep, systemClock, within, type Clock} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {isValidId, newHexUuid} from '../ids.js';
import {createLogger} from '../json-log.js';
import type {Logger, LogLevel} from '../log.js';
import type {CancelCommand, Command, ReloadCommand} from '../protocol/commands.js';
import {ProtocolError} from '../protocol/limits.js';
import type {Tracer} from '../protocol/tracer.js';
import type {SessionFiles} from '../files/file-store.js';
import type {FrameworkCounts, FrameworkMetrics} from '../observe/framework-metrics.js';
import {ExecutionTally} from '../observe/execution-tally.js';
import {collectHistory} from '../observe/metrics-collector.js';
import {tracerOf, type RedisTraceOptions} from '../observe/redis-tracer.js';
import {consumerName, handOverName, suspectsName} from '../protocol/consumers.js';
import {CONSUMER_GROUP, SESSION_TTL_S} from '../protocol/keys.js';
import {sweepDeadlines} from '../store/deadlines.js';
import {sweepTimers} from '../store/timers.js';
import {
  announceConsumer,
  ensureGroup,
  groupsOf,
  readNew,
  type ControlEntry,
} from '../store/control-streams.js';
import {machineAbilities} from '../sandbox/probe.js';
import {sayAbilities} from '../store/abilities.js';
import {noteOnCallReader, unreadOnCall} from '../store/on-call.js';
import {claimLease, dropStaleTypes, heartbeat, LEASE_MS, leave, type Lease} from '../store/presence.js';
import {claimPending, dropConsumer, handOver} from '../store/recovery.js';
import {durabilityOf, refuseEviction} from '../store/durability.js';
import {sweepOutboxes} from '../store/outbox.js';
import {RenewedSessions} from '../store/renewed-sessions.js';
import {checkServer, openStore, type Store, type StoreOptions} from '../store/store.js';
import type {Connection} from '../store/connection.js';
import {executionHint, findByMessage, findExecution} from '../store/executions.js';
import {stopExecution} from '../store/stop.js';
import type {HistoryBackend} from '../history/backend.js';
import {memoryHistory} from '../history/memory.js';
import {accessTo, type WorkerHistory} from '../history/saver.js';
import type {WorkerEvents} from '../observe/worker-health.js';
import {toHandler, type Agent, type Handler} from './agent.js';
import {Isolation} from './isolation.js';
import {Parked} from './parked.js';
import {quarantine} from './poison.js';
import {readEntry} from './read-entry.js';
import {LOOK_EVERY_MS, Recovery, type Recovered, type Room} from './recovery.js';
import {DEFAULT_MAX_ATTEMPTS, isCount} from './retry.js';
import {RunFences} from './run-fences.js';
import {RunningTasks, type AbandonReason} from './running.js';
import {ExecutionEnds} from './execution-ends.js';
import {Settler} from './settler.js';
import {Slots} from './slots.js';
import {mustRunAlone, Solitude} from './solitude.js';
import {StatusReport} from './status-report.js';
import {answerWithoutPlugins, PluginHost} from '../plugins/host.js';
import type {PluginSource} from '../plugins/load-plugins.js';
import {removeUnusedWorkspaces} from './workspace.js';
import {isRules, type ExecutionCircuitRules} from '../store/execution-circuit.js';
import {dropWorkerMetrics} from '../store/worker-metrics.js';
import {runTurn, type Delivery, type TurnCommand, type TurnEnvironment, type TurnOutcome} from './turn.js';

export interface WorkerOptions {
  readonly agents: readonly Agent[];
  /**
   * The file that exports these agents. An execution that crashed workers runs in a process of its own that loads it;
   * without it, such an execution has to wait until it is alone in this process.
   */
  readonly agentsFile?: string;
  /** Default: `worker-` and eight random hex digits. A live id can not be used twice. */
  readonly workerId?: string;
  /** Executions at once. Default 50. */
  readonly concurrency?: number;
  /** Consumer group; all workers of an agent type share one. Default `agent_engines`. */
  readonly group?: string;
  /** Milliseconds for running work to finish after {@link WorkerHandle.stop}. Default 25,000. */
  readonly drainMs?: number;
  /** Milliseconds a cancelled handler gets to stop by itself. Default 10,000. */
  readonly cancelGraceMs?: number;
  /** Milliseconds to wait for a worker id that is still taken. Default 0: fail at once. */
  readonly claimTimeoutMs?: number;
  /** Starts an execution has, in all, before it becomes a dead letter; an agent may say otherwise. Default 5. */
  readonly maxAttempts?: number;
  /**
   * Milliseconds a silent worker keeps its id and its work; a third of it passes between heartbeats. From 500, default
   * 15,000.
   */
  readonly leaseMs?: number;
  /** Folder for the sessions' workspaces, made when one is first used. Default `.by/workspaces` in the current folder. */
  readonly workspaceRoot?: string;
  /**
   * Find out at the start what this machine can hold programs to (`ctx.spawnSandboxed`), and let those who dispatch runs know.
   * Default false: found out when the first program is started, and nobody is told.
   */
  readonly sandbox?: boolean;
  /**
   * Where the files of a session are kept (`ctx.files`), for example in a bucket; asked for when agent code asks first.
   * Default: in its workspace. With it, executions that crashed do not run in processes of their own, which could not have it.
   */
  readonly files?: SessionFiles;
  /**
   * Keep free for on-call work: it is read before anything else, and while the worker is on call nothing else is begun.
   * Default false: on-call work is taken as it comes, with all other.
   */
  readonly reserveOnCall?: boolean;
  /** When executions that fail open the circuit of their agent type. Default: never. */
  readonly circuit?: ExecutionCircuitRules;
  /**
   * Where what is said in sessions is kept; false for nowhere. Stays open when the worker ends. Default: the memory of this
   * process.
   */
  readonly history?: HistoryBackend | false;
  /**
   * Plugins, functions that make some, and full paths of files and folders that have them, in the order of registration.
   * With plugins that are no paths, an execution that crashed workers runs alone in this process (see `agentsFile`).
   */
  readonly plugins?: readonly PluginSource[];
  /** Handed to every plugin as it is; never looked at. */
  readonly pluginSettings?: Readonly<Record<string, unknown>>;
  /** Milliseconds a hook of a plugin may take that says nothing else itself. Default 5,000. */
  readonly hookTimeoutMs?: number;
  /** Told of turns, steps and calls: `by-toolkit/otel` makes one. Default none. */
  readonly tracer?: Tracer;
  /** Write the SDKs' trace records into Redis: `{}` for the defaults. Default: nothing is written. */
  readonly redisTraces?: RedisTraceOptions;
  /**
   * Take part in writing the fleet's history: one worker of all does, a point every `intervalMs` milliseconds, from 1,000 to
   * 60,000, default 5,000. Default: not.
   */
  readonly metricsHistory?: {readonly intervalMs?: number};
  /** Counts executions. Default: nobody does. */
  readonly metrics?: FrameworkMetrics;
  readonly log?: Logger;
  /** Told what the worker does, for pages of its health: `new WorkersWatch().add()`. */
  readonly watch?: WorkerEvents;
  readonly now?: Clock;
}

/** Why a worker ended. */
export type WorkerEnd = 'stopped' | 'evicted' | 'lease-lost' | 'deaf';

export interface WorkerHandle {
  readonly workerId: string;
  readonly agentTypes: readonly string[];
  /** Executions running now. */
  readonly running: number;
  /** Resolves when the worker has ended, however it came to that. */
  readonly done: Promise<WorkerEnd>;
  /** Leave the online set, finish what runs within the drain time, hand back the rest, end. */
  stop(options?: {readonly drainMs?: number}): Promise<WorkerEnd>;
}

/** They are forgotten after two minutes. */
const ABILITIES_EVERY_MS = 40_000;
const READ_BLOCK_MS = 2000;
/** With more readers, or more agent types, than free slots they take turns, and no turn may last. */
const SCARCE_BLOCK_MS = 100;
/** The two ways to end a worker that did not finish in time: after its deadline, and when it is told to hurry. */
const FINAL_MS = 2000;
const HURRIED_FINAL_MS = 800;
/** How long a worker that ends waits for the backend of its traces. */
const FLUSH_TRACES_MS = 500;
/** How long leaving waits for blocked reads that were told to end. */
const READS_END_MS = 500;
const UNBLOCK_EVERY_MS = 20;
/** A worker that holds this many times its slots in entries that wait reads no more. */
const PARKED_PER_SLOT = 10;
/** How often other groups on our streams are looked for. */
const GROUP_CHECK_MS = 60_000;
/** How long plugins may take together to end with the worker. */
const PLUGINS_END_MS = 6000;
/** How often workspaces of sessions that are over are looked for. */
const WORKSPACE_CHECK_MS = 3_600_000;

/**
 * Start a worker and resolve once it is online.
 * @throws {ByError} WORKER_ID_TAKEN, INVALID_CONFIG, REDIS_UNREACHABLE, REDIS_TOO_OLD.
 */
export async function startWorker(
  storeOptions: StoreOptions | Store,
  options: WorkerOptions,
): Promise<WorkerHandle> {
  const ownsStore = !('commands' in storeOptions);
  const store = 'commands' in storeOptions ? storeOptions : openStore({name: 'by-worker', ...storeOptions});
  const worker = new Worker(store, options, ownsStore);
  try {
    await worker.start();
  } catch (error) {
    worker.abandonStart();
    throw error;
  }
  return worker;
}

class Worker implements WorkerHandle {
  readonly workerId: string;
  readonly agentTypes: readonly string[];
  readonly done: Promise<WorkerEnd>;

  private readonly handlers = new Map<string, Handler>();
  private readonly lease: Lease;
  private readonly slots: Slots;
  private readonly tasks: RunningTasks;
  private readonly fences: RunFences;
  private readonly log: Logger;
  private readonly now: Clock;
  private readonly group: string;
  private readonly env: TurnEnvironment;
  private readonly ends: ExecutionEnds | undefined;
  private readonly history: WorkerHistory | undefined;
  private readonly abandon = new AbortController();
  /** Aborted when nothing new is read any more. */
  private readonly closing = new AbortController();
  /** Connections that wait for entries. */
  private readonly readers: Connection[] = [];
  /** Those that are blocked on agent types' streams now, and on which types'. */
  private readonly reading = new Map<Connection, readonly string[]>();
  private readonly turns = new Set<Promise<void>>();
  /** Heartbeats under way: in a Cluster they take several steps, and one that ended after we left would put us back. */
  private readonly beats = new Set<Promise<void>>();
  /** Entries being handled or parked, as `{stream}/{id}`. */
  private readonly inHand = new Set<string>();
  private readonly parked = new Parked<Delivery>(() => this.nudge());
  private readonly solitude = new Solitude();
  private readonly isolation: Isolation | undefined;
  /** Counts what this worker ends, whoever else does. */
  private readonly tally: ExecutionTally;
  private readonly plugins: PluginHost | undefined;
  private readonly recovery: Recovery;
  private readonly status: StatusReport;
  private readonly leaseMs: number;
  /** Something ran alone: there may be more of the kind. */
  private suspectsFirst = false;
  /** Heartbeats for which the fences of running work are still to be looked at, after the lease had run out. */
  private suspectBeats = 0;
  /** Since when heartbeats have failed, by this process's own clock; undefined while they succeed. */
  private silentSince: number | undefined;
  /** Streams from which an entry may have been given to us in a reply that was lost. */
  private readonly mayHaveMissed = new Set<string>();
  private readonly sharedStreams = new Set<string>();
  /** Agent types whose on-call work is read here. */
  private readonly onCallTypes = new Set<string>();
  /** Those of which it ever was. */
  private readonly onCallEver = new Set<string>();
  private onCallRefused = false;
  private abilitiesToldAt = -Infinity;
  private readonly loops: Promise<void>[] = [];
  private lifecycle: 'active' | 'suspended' | 'evicted' = 'active';
  private deniedTypes: readonly string[] = [];
  /** Said by an operator; undefined where nobody did. */
  private logLevel: LogLevel | undefined;
  private ending: Promise<WorkerEnd> | undefined;
  private resolveDone: (end: WorkerEnd) => void = () => undefined;

  constructor(
    private readonly store: Store,
    private readonly options: WorkerOptions,
    private readonly ownsStore: boolean,
  ) {
    for (const agent of options.agents) {
      const handler = toHandler(agent);
      for (const type of handler.agentTypes) this.addHandler(type, handler);
    }
    if (this.handlers.size === 0) {
      throw new ByError('INVALID_CONFIG', 'This worker serves no agent type.', {
        hint: 'Give it at least one agent.',
      });
    }
    this.agentTypes = [...this.handlers.keys()];
    this.workerId = options.workerId ?? `worker-${newHexUuid().slice(0, 8)}`;
    if (!isValidId(this.workerId)) {
      throw new ByError('INVALID_CONFIG', `"${this.workerId}" can not be a worker id.`, {
        hint: 'Use letters, digits and . _ : @ - (at most 128, beginning with a letter or digit).',
      });
    }
    this.leaseMs = options.leaseMs ?? LEASE_MS;
    const maxAttempts = options.maxAttempts ?? DEFAULT_MAX_ATTEMPTS;
    if (!isCount(this.leaseMs, 500) || !isCount(maxAttempts, 1)) {
      throw new ByError('INVALID_CONFIG', 'leaseMs or maxAttempts of this worker can not be used.', {
        hint: 'leaseMs is a whole number from 500, in milliseconds; maxAttempts one from 1.',
      });
    }
    const {intervalMs = 5000} = options.metricsHistory ?? {};
    if (!isCount(intervalMs, 1000) || intervalMs > 60_000) {
      throw new ByError('INVALID_CONFIG', `${intervalMs} ms can not be the interval of the history.`, {
        hint: 'Give a whole number of milliseconds from 1000 to 60000.',
      });
    }
    this.lease = {
      ...{workerId: this.workerId, token: newHexUuid(), ipAddress: localAddress()},
      ttlMs: this.leaseMs,
    };
    const name = consumerName(this.workerId, this.lease.token);
    this.slots = new Slots(options.concurrency ?? 50);
    this.tasks = new RunningTasks();
    this.now = options.now ?? systemClock;
    this.log = (options.log ?? createLogger()).child({worker_id: this.workerId});
    this.fences = new RunFences(store, {workerId: this.workerId, log: this.log, ttlMs: this.leaseMs});
    this.group = options.group ?? CONSUMER_GROUP;
    const {plugins: sources = [], pluginSettings: settings, hookTimeoutMs} = options;
    const paths = sources.filter(source => typeof source === 'string');
    this.isolation =
      options.agentsFile === undefined || options.files !== undefined || paths.length < sources.length
        ? undefined
        : new Isolation(
            options.agentsFile,
            store.options,
            this.closing.signal,
            this.slots.total,
            {paths, settings, hookTimeoutMs},
            () => this.plugins?.version ?? 0,
          );
    this.plugins =
      sources.length === 0
        ? undefined
        : new PluginHost({
            ...{store, sources, settings, workerId: this.workerId, agentTypes: this.agentTypes},
            ...{log: this.log, now: this.now, hookTimeoutMs, isWorker: true},
            // As often as its heartbeats.
            reportEveryMs: this.leaseMs / 3,
          });
    this.recovery = new Recovery(store, this.group, {name, workerId: this.workerId});
    this.done = new Promise(resolve => (this.resolveDone = resolve));
    const {circuit} = options;
    if (circuit !== undefined && !isRules(circuit)) {
      throw new ByError('INVALID_CONFIG', 'The circuit of this worker can not be used.', {
        hint: 'rate is above 0 and up to 1, min a whole number from 1, windowMs from 1000 to an hour, openMs to a day.',
      });
    }
    this.ends = circuit && new ExecutionEnds(store, circuit, this.log);
    this.status = new StatusReport(store, {
      ...{workerId: this.workerId, agentTypes: this.agentTypes, log: this.log},
      ...{slotsMax: this.slots.total, slotsUsed: () => this.slots.busy},
      reserveOnCall: this.reservesOnCall,
      onChange: isExhausted => {
        if (isExhausted) this.letGoOfBarred();
        else this.slots.wake();
        void this.lookAfterOnCall();
      },
    });
    const {history = memoryHistory({now: this.now})} = options;
    this.history = history === false ? undefined : accessTo(history, this.log);
    this.tally = new ExecutionTally(store, this.workerId, this.now, countersOf(options));
    this.env = {
      store,
      ends: this.ends,
      history: this.history,
      plugins: this.plugins,
      tracer: tracerOf(store, options),
      metrics: this.tally,
      workerId: this.workerId,
      owner: name,
      group: this.group,
      now: this.now,
      log: this.log,
      running: this.tasks,
      fences: this.fences,
      renewed: new RenewedSessions(this.now),
      settler: new Settler(store, this.group, stream => !this.sharedStreams.has(stream), this.log),
      deletesEntries: stream => !this.sharedStreams.has(stream),
      abandon: this.abandon.signal,
      cancelGraceMs: options.cancelGraceMs ?? 10_000,
      maxAttempts,
      files: options.files,
      workspaceRoot: resolve(options.workspaceRoot ?? '.by/workspaces'),
      wakeIn: ms => this.sweepTimersIn(ms),
      stepAside: () => {
        this.slots.give();
        // Back at once, even if that makes one more than there are: who waited long enough is not to wait again.
        return () => this.slots.take();
      },
      servesNow: type => this.handlers.has(type) && this.mayRun(type) && this.slots.idle > 0,
      isGone: owner => this.recovery.isGone(owner),
      reportExhausted: async report => {
        await this.status.exhaust(report);
        if (this.status.isExhausted) await this.barredReadsEnded();
      },
    };
  }

  private get reservesOnCall(): boolean {
    return this.options.reserveOnCall === true;
  }

  get running(): number {
    return this.slots.busy;
  }

  /** Undo a start that failed half way. */
  abandonStart(): void {
    this.closing.abort();
    this.closeConnections();
  }

  async start(): Promise<void> {
    const server = await checkServer(this.store);
    refuseEviction(server, this.store.address);
    await this.plugins?.load();
    await this.claimWorkerId();
    const controlStream = this.store.keys.workerCtrlStream(this.workerId);
    for (const type of this.agentTypes)
      await ensureGroup(this.store, this.store.keys.ctrlStream(type), this.group);
    await ensureGroup(this.store, controlStream, this.group);
    await announceConsumer(this.store, controlStream, this.group, this.env.owner);
    // An earlier life of this worker gave it a lifetime when it left.
    await this.store.commands.run(redis => redis.persist(controlStream), {retryForMs: 5000});
    await this.lookForOtherGroups();
    await dropStaleTypes(this.store, this.workerId, this.agentTypes);
    await this.plugins?.startup();
    // Before anybody can find this worker online, and take it for one that asks nobody.
    await this.tellAbilities();
    await this.beat();
    if (this.lifecycle === 'evicted') {
      await Promise.all([leave(this.store, this.lease, this.agentTypes), this.status.leave()]);
      throw new ByError('CONFLICT', `Worker "${this.workerId}" was evicted.`, {
        hint: `Let it join again with \`by worker rejoin ${this.workerId}\`, or start with another --worker-id.`,
      });
    }
    this.loops.push(
      this.heartbeatLoop(),
      this.controlLoop(controlStream),
      ...(await this.workLoops()),
      this.recoveryLoop(),
      ...this.historyLoop(),
    );
    this.options.watch?.online({
      workerId: this.workerId,
      slots: this.slots.total,
      running: () => this.running,
    });
    // A reload that was asked for while this worker started did not count it among those to tell.
    await this.tickPlugins();
    this.log.info('online', {
      agent_types: this.agentTypes.join(','),
      slots: this.slots.total,
      durability: durabilityOf(server).level,
      history: this.history?.name ?? 'off',
    });
  }

  private historyLoop(): Promise<void>[] {
    if (this.options.metricsHistory === undefined) return [];
    const {intervalMs = 5000} = this.options.metricsHistory;
    const {store, workerId, log} = this;
    return [collectHistory(store, {workerId, intervalMs, log}, this.closing.signal)];
  }

  stop(options: {readonly drainMs?: number} = {}): Promise<WorkerEnd> {
    return this.end('stopped', options.drainMs ?? this.options.drainMs ?? 25_000);
  }

  private addHandler(type: string, handler: Handler): void {
    if (!isValidId(type)) {
      throw new ByError('INVALID_CONFIG', `"${type}" can not be an agent type.`, {
        hint: 'Use letters, digits and . _ : @ - (at most 128, beginning with a letter or digit).',
      });
    }
    if (this.handlers.has(type)) {
      throw new ByError('INVALID_CONFIG', `Two agents of this worker serve "${type}".`, {
        hint: 'Give each agent type to one agent, or run two workers.',
      });
    }
    this.handlers.set(type, handler);
  }

  private async claimWorkerId(): Promise<void> {
    const deadline = Date.now() + (this.options.claimTimeoutMs ?? 0);
    for (let attempt = 1; !(await claimLease(this.store, this.lease)); attempt++) {
      if (Date.now() >= deadline) {
        throw new ByError('WORKER_ID_TAKEN', `Another process runs as worker "${this.workerId}".`, {
          hint: `Start this one with another --worker-id, stop the other, or wait ${Math.ceil(this.leaseMs / 1000)} s if it was killed.`,
        });
      }
      await sleep(backoffMs(attempt, {baseMs: 500, maxMs: 3000}) + 100);
    }
  }

  /** Another group on our stream executes every message a second time; we must not delete entries it has not read. */
  private async lookForOtherGroups(): Promise<void> {
    for (const type of this.agentTypes) {
      const stream = this.store.keys.ctrlStream(type);
      const others = (await groupsOf(this.store, stream)).filter(group => group.name !== this.group);
      if (others.length === 0) {
        this.sharedStreams.delete(stream);
        continue;
      }
      if (!this.sharedStreams.has(stream)) {
        const names = others.map(group => group.name).join(', ');
        this.log.warn('other consumer groups read this agent type: every message runs once in each', {
          agent_type: type,
          groups: names,
        });
      }
      this.sharedStreams.add(stream);
    }
  }

  /**
   * Take up entries Redis counts as ours though nobody here has them: from a reply that was lost, from a turn that
   * could not reach Redis.
   */
  private async takeMissed(stream: string, agentType: string | undefined): Promise<void> {
    if (!this.mayHaveMissed.delete(stream)) return;
    try {
      const name = this.env.owner;
      const entries = await claimPending(this.store, {
        ...{stream, group: this.group, from: name, to: name, minIdleMs: 0},
        count: Math.min(1000, this.inHand.size + this.slots.free + 1),
      });
      const missed = entries.filter(each => !this.inHand.has(handle(each)));
      const startable = agentType === undefined ? missed : missed.slice(0, this.slots.free);
      if (startable.length < missed.length) this.mayHaveMissed.add(stream);
      await this.dispatchAgain(
        startable.map(entry => ({entry, from: ''})),
        agentType,
      );
    } catch (error) {
      this.mayHaveMissed.add(stream);
      throw error;
    }
  }

  /** Take up what the last look found in the hands of dead workers, as much as can start. */
  private async takeRecovered(stream: string, agentType: string): Promise<void> {
    if (this.slots.free <= 0 || this.solitude.isWanted) return;
    await this.dispatchAgain(await this.recovery.take(stream, this.roomFor(this.slots.free)), agentType);
  }

  private roomFor(free: number): Room {
    return {free, alone: this.roomAlone};
  }

  /** How many more of what must run alone may be taken. */
  private get roomAlone(): number {
    return this.isolation?.room ?? (this.solitude.isWanted ? 0 : 1);
  }

  /**
   * Start entries that were delivered before. Of those that must run alone no more are kept than can; the others go to
   * whoever has room, or come back when ours are done.
   */
  private async dispatchAgain(recovered: readonly Recovered[], agentType: string | undefined): Promise<void> {
    const deliveries = await Promise.all(
      recovered.map(async ({entry, from}): Promise<Delivery> => {
        return {entry, agentType, takenFrom: from, alone: await this.hasCrashed(entry)};
      }),
    );
    const tooMany: Delivery[] = [];
    for (const delivery of deliveries) {
      const {entry, takenFrom: from, alone} = delivery;
      if (alone && agentType !== undefined && this.roomAlone === 0) {
        tooMany.push(delivery);
        continue;
      }
      this.log.info('taking up unfinished work', {entry: entry.id, from, alone});
      this.suspectsFirst ||= alone && this.isolation === undefined;
      this.dispatch(delivery);
    }
    await this.handOver(tooMany, suspectsName(this.workerId));
  }

  private takeDue(): void {
    while (this.slots.free > 0) {
      const delivery = this.parked.takeDue();
      if (delivery === undefined) return;
      this.dispatch(delivery);
    }
  }

  /** One blocked read for all agent types; in a Cluster, where they live on different nodes, one for each. */
  private async workLoops(): Promise<Promise<void>[]> {
    const isCluster = await this.store.commands.isCluster();
    const groups = isCluster ? this.agentTypes.map(type => [type]) : [this.agentTypes];
    return groups.map(types => this.workLoop(types, groups.length));
  }

  private openReader(name: string, stream: string): Connection {
    const reader = this.store.blocking(name, stream);
    this.readers.push(reader);
    return reader;
  }

  /**
   * The streams of agent types, with what is on call first. It has a stream of its own only where a worker keeps itself
   * free for it.
   */
  private sourcesOf(agentTypes: readonly string[]): Source[] {
    const {keys} = this.store;
    const onCall = agentTypes.filter(type => this.onCallTypes.has(type));
    return [
      ...onCall.map(type => ({agentType: type, stream: keys.onCallStream(type), isOnCall: true})),
      ...agentTypes.map(type => ({agentType: type, stream: keys.ctrlStream(type), isOnCall: false})),
    ];
  }

  /** Those of them from which something new may be begun now. */
  private openSourcesOf(agentTypes: readonly string[]): Source[] {
    const sources = this.sourcesOf(this.readableTypes(agentTypes));
    const isReserved = this.reservesOnCall && this.status.isOnCall;
    return isReserved ? sources.filter(({isOnCall}) => isOnCall) : sources;
  }

  /**
   * Say whose on-call work is read here. Who does not keep itself free for it reads it too while there is some and
   * nobody who does: its last reader left, or died.
   */
  private async lookAfterOnCall(): Promise<void> {
    const {store, workerId} = this;
    const types = this.closing.signal.aborted ? [] : this.readableTypes(this.agentTypes);
    try {
      if (this.reservesOnCall)
        await Promise.all(
          this.agentTypes.map(type =>
            noteOnCallReader(store, type, workerId, types.includes(type) ? this.leaseMs : 0),
          ),
        );
      this.readOnCallOf(this.reservesOnCall ? types : await unreadOnCall(store, types));
      this.onCallRefused = false;
    } catch (error) {
      // A Redis user of an older `by acl worker` may not: said once, not with every heartbeat.
      if (!this.onCallRefused) this.log.warn('looking after on-call work failed', {error: messageOf(error)});
      this.onCallRefused = true;
    }
  }

  private readOnCallOf(types: readonly string[]): void {
    const isNew = types.some(type => !this.onCallTypes.has(type));
    this.onCallTypes.clear();
    for (const type of types) {
      this.onCallTypes.add(type);
      this.onCallEver.add(type);
    }
    if (isNew) this.nudge();
  }

  /** @param loops how many of these share the slots: none may sit on those another could use. */
  private async workLoop(agentTypes: readonly string[], loops: number): Promise<void> {
    const reader = this.openReader('work', this.store.keys.ctrlStream(agentTypes[0] ?? ''));
    const {total} = this.slots;
    const most = loops === 1 ? total : Math.max(1, Math.floor(total / (4 * loops)));
    const blockMs = total < loops ? SCARCE_BLOCK_MS : READ_BLOCK_MS;
    let failures = 0;
    // Of this loop and each kind of read alone: reads that always alternate would give a stream no turn.
    const turns = {urgent: 0, all: 0};
    while (!this.closing.signal.aborted) {
      await this.slots.available();
      if (this.closing.signal.aborted as boolean) return;
      if (failures === 0) this.options.watch?.looked();
      this.takeDue();
      const sources = this.openSourcesOf(agentTypes);
      if (sources.length === 0 || this.parked.size > this.slots.total * PARKED_PER_SLOT) {
        await sleep(200, this.closing.signal);
        continue;
      }
      try {
        await this.solitude.over(this.closing.signal);
        // What is ours already, also of what is not to be begun anew.
        for (const {stream, agentType} of this.sourcesOf(this.readableTypes(agentTypes)))
          await this.takeMissed(stream, agentType);
        for (const {stream, agentType} of sources) {
          // Before anything new begins that it would have to wait for.
          if (this.suspectsFirst) await this.recovery.look(stream, this.roomFor(this.slots.free), true);
          await this.takeRecovered(stream, agentType);
        }
        this.suspectsFirst &&= this.solitude.isWanted;
        if (this.solitude.isWanted) continue;
        const free = Math.min(most, this.slots.free);
        const urgent = sources.filter(({isOnCall}) => isOnCall);
        // Where streams take turns, what is on call has its turn first, and again for as long as there is any.
        const isCrowded = urgent.length > 0 && sources.length > free;
        if (isCrowded && (await this.readFrom(reader, shareSlots(urgent, free, turns.urgent++), 1)) > 0)
          continue;
        const share = shareSlots(sources, free, turns.all++);
        const isPart = share.chosen.length < sources.length;
        await this.readFrom(reader, share, isPart ? SCARCE_BLOCK_MS : blockMs);
        failures = 0;
      } catch (error) {
        if (this.closing.signal.aborted as boolean) return;
        failures++;
        for (const {stream} of sources) this.mayHaveMissed.add(stream);
        this.log.warn('reading failed', {error: messageOf(error), failures});
        await sleep(backoffMs(failures, {baseMs: 100, maxMs: 2000}) + 50, this.closing.signal);
      }
    }
  }

  /** @returns how many entries came, each of which has begun. */
  private async readFrom(
    reader: Connection,
    {chosen, count}: {readonly chosen: readonly Source[]; readonly count: number},
    blockMs: number,
  ): Promise<number> {
    // An operator may have decided something while we were looking.
    const isBarred = !chosen.every(({agentType}) => this.mayRun(agentType));
    if (chosen.length === 0 || this.parked.hasDue || isBarred) return 0;
    let came = 0;
    this.reading.set(
      reader,
      chosen.map(({agentType}) => agentType),
    );
    try {
      await this.slots.hold(
        count * chosen.length,
        () =>
          readNew(this.store, reader, {
            streams: chosen.map(({stream}) => stream),
            group: this.group,
            consumer: this.env.owner,
            count,
            blockMs,
          }),
        entries => {
          came = entries.length;
          for (const entry of entries) {
            const from = chosen.find(({stream}) => stream === entry.stream);
            if (from !== undefined)
              this.dispatch({entry, agentType: from.agentType, takenFrom: '', alone: false});
          }
        },
      );
    } finally {
      this.reading.delete(reader);
    }
    return came;
  }

  /** Look for what dead workers left, whenever there is room for it. */
  private async recoveryLoop(): Promise<void> {
    while (!this.closing.signal.aborted) {
      try {
        const found = await Promise.all(this.recoverableStreams().map(stream => this.look(stream)));
        if (found.includes(true) || this.parked.hasDue || this.mayHaveMissed.size > 0) this.nudge();
      } catch (error) {
        this.log.debug('looking for dead workers failed', {error: messageOf(error)});
      }
      // Apart: a Redis user of an older `by acl worker` may not do it, and dead workers are looked for all the same.
      await this.orWarn('looking at timers', () => sweepTimers(this.store));
      // Spread out, so that a fleet that started together does not ask together.
      await sleep(LOOK_EVERY_MS * (0.8 + 0.4 * Math.random()), this.closing.signal);
    }
  }

  /** A timer that goes off before the next look need not wait for it. */
  private sweepTimersIn(ms: number): void {
    if (ms > LOOK_EVERY_MS) return;
    setTimeout(
      () => {
        if (!this.closing.signal.aborted)
          void this.orWarn('looking at timers', () => sweepTimers(this.store));
      },
      Math.max(0, ms),
    ).unref();
  }

  private look(stream: string): Promise<boolean> {
    return this.recovery.look(stream, this.roomFor(this.slots.idle));
  }

  private recoverableStreams(): string[] {
    if (this.slots.idle <= 0 || this.solitude.isWanted) return [];
    return this.openSourcesOf(this.agentTypes).map(({stream}) => stream);
  }

  /** Let the work loops look again now. */
  private nudge(): void {
    this.slots.wake();
    // Told too early or too late it comes to nothing, and the next look tells it again.
    for (const reader of this.reading.keys()) void reader.unblock(this.store.commands).catch(() => undefined);
  }

  private readableTypes(agentTypes: readonly string[]): string[] {
    if (this.lifecycle !== 'active' || this.status.isExhausted) return [];
    return agentTypes.filter(type => !this.deniedTypes.includes(type));
  }

  /** Start one entry in a slot. What agent code does never ends the loop. */
  private dispatch(delivery: Delivery): void {
    const {entry} = delivery;
    this.slots.take();
    this.inHand.add(handle(entry));
    const turn = this.handleEntry(delivery)
      .catch(async (error: unknown): Promise<TurnOutcome> => {
        if (error instanceof ProtocolError) return this.quarantine(delivery, error.message);
        throw error;
      })
      .catch((error: unknown): TurnOutcome => {
        // Redis was away for longer than we retry: the entry stays pending, and is taken up again.
        this.mayHaveMissed.add(entry.stream);
        this.log.error('left for later', {entry: entry.id, error: messageOf(error)});
        return {kind: 'over'};
      })
      .then(async outcome => {
        const isOurs =
          outcome.kind === 'later' && !this.closing.signal.aborted && this.mayRun(delivery.agentType);
        if (isOurs) this.parked.add(delivery, outcome.delayMs);
        else {
          this.inHand.delete(handle(entry));
          if (outcome.kind !== 'over') await this.handOver([delivery]);
        }
      })
      .finally(() => {
        this.turns.delete(turn);
        this.slots.give();
      });
    this.turns.add(turn);
  }

  /** Give up entries that nobody has begun: any live worker takes them at once. */
  private async handOver(deliveries: readonly Delivery[], to = handOverName(this.workerId)): Promise<void> {
    const streams = new Map<string, string[]>();
    for (const {entry, agentType} of deliveries) {
      // What is on our own stream waits for the next worker of this id.
      if (agentType !== undefined)
        streams.set(entry.stream, [...(streams.get(entry.stream) ?? []), entry.id]);
    }
    await Promise.all(
      [...streams].map(([stream, ids]) =>
        this.orWarn('handing over', () => handOver(this.store, this.group, stream, ids, to)),
      ),
    );
  }

  private async handleEntry(delivery: Delivery): Promise<TurnOutcome> {
    const {entry, agentType: streamType} = delivery;
    let command: Command;
    try {
      command = readEntry(entry);
    } catch (error) {
      return this.quarantine(delivery, messageOf(error));
    }
    switch (command.action) {
      case 'ASK_AGENT':
      case 'RESUME':
        return this.runCommand(delivery, command);
      case 'CANCEL_TASK':
        await this.cancelTask(command);
        break;
      case 'CUSTOM':
        await this.handlerFor(command.header.targetAgentType || streamType)?.custom(command);
        break;
      case 'SUSPEND_WORKER':
      case 'RESUME_WORKER':
      case 'EVICT_WORKER':
        // The admin hash is the truth: a command may be older than what the operator decided since.
        if (streamType === undefined) await this.obey(command);
        break;
      case 'RELOAD_PLUGINS':
        await this.reloadPlugins(command, streamType);
        break;
    }
    this.env.settler.add(entry);
    return {kind: 'over'};
  }

  private async reloadPlugins(command: ReloadCommand, streamType: string | undefined): Promise<void> {
    // As with all that changes a worker: who may send work may not tell it what to do.
    if (streamType !== undefined) {
      this.log.warn('a reload on the stream of an agent type is not done');
      return;
    }
    const {reloadId, reason, header} = command;
    if (this.plugins === undefined) return answerWithoutPlugins(this.store, this.workerId, command);
    const number = header.metadata['by_reload'];
    await this.plugins.reload({
      ...{reloadId, reason, agentType: header.targetAgentType},
      number: typeof number === 'number' ? number : undefined,
    });
  }

  /** Policies of runs are kept here; whether programs can be held back is known once it was tried. */
  private async tellAbilities(): Promise<void> {
    if (performance.now() - this.abilitiesToldAt < ABILITIES_EVERY_MS) return;
    this.abilitiesToldAt = performance.now();
    await this.orWarn('telling what this worker can do', async () => {
      const sandbox = this.options.sandbox ? await machineAbilities() : undefined;
      await sayAbilities(this.store, this.workerId, sandbox === undefined ? {} : {sandbox});
    });
  }

  private async tickPlugins(): Promise<void> {
    const {plugins} = this;
    await this.orWarn('telling what was done', () => this.tally.tick());
    if (plugins !== undefined) await this.orWarn('looking after the plugins', () => plugins.tick());
  }

  private async runCommand(delivery: Delivery, command: TurnCommand): Promise<TurnOutcome> {
    const {agentType: streamType} = delivery;
    const {targetAgentType} = command.header;
    const type = streamType ?? (targetAgentType || this.agentTypes[0]);
    if (streamType !== undefined && targetAgentType !== '' && targetAgentType !== streamType) {
      return this.quarantine(
        delivery,
        `addressed to "${targetAgentType}", but found on the stream of "${streamType}"`,
      );
    }
    const handler = this.handlerFor(type);
    if (type === undefined || handler === undefined) {
      return this.quarantine(delivery, `this worker does not serve "${targetAgentType}"`);
    }
    if (delivery.alone && this.isolation !== undefined) {
      const outcome = await this.isolation.run(this.env, delivery, type);
      if (outcome !== 'unable') return outcome;
    }
    // While we wait nothing is claimed, so waiting is no attempt.
    if (!(await this.solitude.enter(delivery.alone, this.closing.signal))) return {kind: 'unbegun'};
    const wasOnCall = this.status.isOnCall;
    const ended = this.status.began(command.header.metadata);
    // What is read now may be what is not to be begun any more, or leave out what may be again.
    if (this.reservesOnCall && this.status.isOnCall !== wasOnCall) this.nudge();
    try {
      return await runTurn(this.env, delivery, command, type, handler);
    } finally {
      const isOnCall = this.status.isOnCall;
      ended();
      if (this.reservesOnCall && this.status.isOnCall !== isOnCall) this.nudge();
      this.solitude.leave();
    }
  }

  /** Whether an entry's next start must be alone. What can not be read crashes nobody. */
  private async hasCrashed(entry: ControlEntry): Promise<boolean> {
    let command: Command;
    try {
      command = readEntry(entry);
    } catch {
      // It becomes a dead letter when it is handled.
      return false;
    }
    if (command.action !== 'ASK_AGENT' && command.action !== 'RESUME') return false;
    const {sessionId, messageId} = command.header;
    const hint = executionHint(command);
    const hinted = hint === '' ? undefined : await findExecution(this.store, sessionId, hint);
    const record =
      hinted?.messageId === messageId ? hinted : await findByMessage(this.store, sessionId, messageId);
    return record !== undefined && mustRunAlone(record, handle(entry));
  }

  private handlerFor(type: string | undefined): Handler | undefined {
    return type === undefined || type === '' ? this.handlers.values().next().value : this.handlers.get(type);
  }

  private async quarantine({entry, agentType = ''}: Delivery, reason: string): Promise<TurnOutcome> {
    const verdict = {reason, workerId: this.workerId, now: this.now(), agentType};
    let id: string;
    try {
      id = await quarantine(this.store, this.group, entry, verdict);
    } catch (error) {
      if (!(error instanceof ByError) || error.code !== 'DEAD_LETTERS_FULL') throw error;
      alarmFull(this.store, this.log);
      return {kind: 'later', delayMs: FULL_RETRY_MS};
    }
    if (id !== '')
      this.log.warn('unreadable command moved to the dead letters', {
        entry: entry.id,
        dead_letter: id,
        reason,
      });
    return {kind: 'over'};
  }

  private async cancelTask(command: CancelCommand): Promise<void> {
    const {targetExecutionId: executionId, targetMessageId: messageId, reason} = command;
    const force = command.cancelMode === 'force';
    if (this.tasks.cancel(executionId, messageId, reason || 'cancelled', force)) return;
    // A retry that waits here is looked at now: it has nothing to wait for.
    this.parked.hurry(({entry}) => messageIdOf(entry) === messageId);
    if (executionId === '') return;
    const record = await findExecution(this.store, command.header.sessionId, executionId);
    if (record === undefined) return;
    const stop = {kind: 'cancel', reason, force, requestedBy: command.requestedBy, tell: false} as const;
    await stopExecution(this.store, record, stop, this.now());
  }

  /** The worker's own stream is read whatever the slots do; only work found there takes one. */
  private async controlLoop(stream: string): Promise<void> {
    const reader = this.openReader('control', stream);
    let failures = 0;
    let hasEarlierLives = true;
    while (!this.closing.signal.aborted) {
      try {
        if (hasEarlierLives) {
          await this.dispatchAgain(await this.recovery.takeOwnStream(stream), undefined);
          hasEarlierLives = false;
        }
        await this.takeMissed(stream, undefined);
        const entries = await readNew(this.store, reader, {
          streams: [stream],
          group: this.group,
          consumer: this.env.owner,
          count: 10,
          blockMs: READ_BLOCK_MS,
        });
        failures = 0;
        for (const entry of entries)
          this.dispatch({entry, agentType: undefined, takenFrom: '', alone: false});
      } catch (error) {
        if (this.closing.signal.aborted as boolean) return;
        failures++;
        this.mayHaveMissed.add(stream);
        this.log.warn('reading the control stream failed', {error: messageOf(error), failures});
        await sleep(backoffMs(failures, {baseMs: 100, maxMs: 2000}) + 50, this.closing.signal);
      }
    }
  }

  private async heartbeatLoop(): Promise<void> {
    let groupsCheckedAt = Date.now();
    let workspacesCheckedAt = -Infinity;
    while (!this.closing.signal.aborted) {
      await sleep(this.leaseMs / 3, this.closing.signal);
      if (this.closing.signal.aborted as boolean) return;
      try {
        await this.beat();
        if (performance.now() - workspacesCheckedAt > WORKSPACE_CHECK_MS) {
          workspacesCheckedAt = performance.now();
          const {workspaceRoot} = this.env;
          void this.orWarn('removing unused workspaces', () =>
            removeUnusedWorkspaces(workspaceRoot, SESSION_TTL_S * 1000, Date.now()),
          );
        }
        void this.tickPlugins();
        void this.tellAbilities();
        if (await this.store.commands.isCluster()) await sweepOutboxes(this.store);
        await this.orWarn('looking at deadlines', () => sweepDeadlines(this.store, this.now()));
        if (Date.now() - groupsCheckedAt > GROUP_CHECK_MS) {
          groupsCheckedAt = Date.now();
          await this.lookForOtherGroups();
        }
      } catch (error) {
        this.options.watch?.unheard();
        this.log.warn('heartbeat failed', {error: messageOf(error)});
        this.silentSince ??= performance.now();
        if (performance.now() - this.silentSince > 2 * this.leaseMs) void this.end('deaf', 0);
      }
    }
  }

  /** An operator decided something: look what holds now, and settle the command once it is done. */
  private async obey(command: Command): Promise<void> {
    await this.beat();
    await this.barredReadsEnded();
    // Managers of other SDKs say it in the command alone.
    if (this.lifecycle === 'evicted' && command.action === 'EVICT_WORKER' && command.force)
      void this.end('evicted', 0);
  }

  private async beat(): Promise<void> {
    const beat = this.sendHeartbeat();
    this.beats.add(beat);
    try {
      await beat;
    } finally {
      this.beats.delete(beat);
    }
  }

  private async sendHeartbeat(): Promise<void> {
    const joins = !this.closing.signal.aborted;
    const [answer] = await Promise.all([
      heartbeat(this.store, this.lease, {agentTypes: this.agentTypes, join: joins, nowMs: this.now()}),
      this.status.beat(),
      this.fences.beat(),
    ]);
    this.silentSince = undefined;
    if (answer.kind === 'lost') {
      this.log.error('another process holds this worker id: stopping at once');
      void this.end('lease-lost', 0);
      return;
    }
    if (answer.lapsed && this.tasks.size > 0) {
      this.log.warn('the lease had run out: looking whose the running work is');
      // Whoever saw it gone may take our work a moment after we have it back.
      this.suspectBeats = 2;
    }
    if (this.suspectBeats > 0) {
      await this.abandonFenced();
      this.suspectBeats--;
    }
    if (answer.lifecycle !== this.lifecycle)
      this.log.info('lifecycle changed', {to: answer.lifecycle, reason: answer.reason});
    this.options.watch?.heartbeat(answer.lifecycle);
    this.setLogLevel(answer.logLevel);
    const isBarred = answer.lifecycle !== 'active' || answer.deniedTypes.length > 0;
    this.lifecycle = answer.lifecycle;
    this.deniedTypes = answer.deniedTypes;
    this.slots.wake();
    if (isBarred) this.letGoOfBarred();
    await this.lookAfterOnCall();
    if (this.lifecycle === 'evicted' && this.loops.length > 0)
      void this.end('evicted', answer.force ? 0 : (this.options.drainMs ?? 25_000));
  }

  private setLogLevel(level: LogLevel | undefined): void {
    if (level === this.logLevel) return;
    this.logLevel = level;
    this.log.setLevel?.(level);
    this.log.info('log level changed', {to: level ?? 'as it was started'});
  }

  /** What waits here for another attempt is for those who may take it. */
  private letGoOfBarred(): void {
    const barred = this.parked.clear(({agentType}) => !this.mayRun(agentType));
    for (const {entry} of barred) this.inHand.delete(handle(entry));
    void this.handOver(barred);
    void this.barredReadsEnded();
  }

  /** Whether an operator lets this worker take work of a type; what is addressed to the worker alone it may. */
  private mayRun(agentType: string | undefined): boolean {
    return agentType === undefined || this.readableTypes([agentType]).length > 0;
  }

  /** No read that began before is under way on agent types this worker may not read. */
  private async barredReadsEnded(): Promise<void> {
    const isBarred = (types: readonly string[]) => !types.every(type => this.mayRun(type));
    const giveUpAt = performance.now() + READ_BLOCK_MS;
    while ([...this.reading.values()].some(isBarred) && performance.now() < giveUpAt) {
      this.nudge();
      await sleep(UNBLOCK_EVERY_MS, this.closing.signal);
      if (this.closing.signal.aborted) return;
    }
  }

  /** Abort the tasks that another worker has taken over. */
  private async abandonFenced(): Promise<void> {
    await Promise.all(
      this.tasks.all().map(async task => {
        const {sessionId, executionId, fence} = task.turn;
        const record = await findExecution(this.store, sessionId, executionId);
        if (record?.extra['x_fence'] !== fence) task.abandon('fenced');
      }),
    );
  }

  private end(reason: WorkerEnd, drainMs: number): Promise<WorkerEnd> {
    this.ending ??= this.shutDown(reason, drainMs);
    // Whoever asks again asks for less patience: what still runs is handed back.
    if (drainMs === 0) this.abandonWork(reason === 'lease-lost' ? 'lease lost' : 'worker stops');
    return this.ending;
  }

  private abandonWork(reason: AbandonReason): void {
    this.tasks.abandonAll(reason);
    this.abandon.abort();
  }

  /**
   * Stop reading, let running work end, hand back the rest, leave. Redis may be away: nothing here waits for it beyond
   * the deadline and {@link FINAL_MS}.
   */
  private async shutDown(reason: WorkerEnd, drainMs: number): Promise<WorkerEnd> {
    this.options.watch?.ending(reason);
    this.log.info('stopping', {reason, running: this.slots.busy});
    this.closing.abort();
    this.slots.wake();
    const ours = reason !== 'lease-lost';
    if (ours) {
      void this.orWarn('ending the blocked reads', () => this.endReads());
      void this.orWarn('leaving the agent types', () => this.beat());
      const parked = this.parked.clear();
      for (const {entry} of parked) this.inHand.delete(handle(entry));
      void this.handOver(parked);
    }
    await this.drain(drainMs);
    // A blocked read that outlived our consumer would make it anew, and be given entries nobody here runs.
    if (ours) await within(READS_END_MS, Promise.allSettled(this.loops));
    const budget = this.abandon.signal.aborted ? HURRIED_FINAL_MS : FINAL_MS;
    // Beside each other: a database that hangs must not keep the worker from leaving.
    await within(budget, Promise.all([this.finish(ours), this.history?.flush()]));
    const {plugins} = this;
    // What others wait for is done: these have time of their own.
    if (plugins !== undefined)
      await within(
        this.abandon.signal.aborted ? HURRIED_FINAL_MS : PLUGINS_END_MS,
        this.orWarn('ending the plugins', () => plugins.shutdown()),
      );
    this.closeConnections();
    this.log.info('stopped', {reason});
    this.resolveDone(reason);
    return reason;
  }

  /** A read may just be on its way to the server, which then knows of nothing to end: told until it has ended. */
  private async endReads(): Promise<void> {
    const ended = new AbortController();
    void Promise.allSettled(this.loops).then(() => ended.abort());
    const giveUpAt = performance.now() + READ_BLOCK_MS;
    while (!ended.signal.aborted && performance.now() < giveUpAt) {
      await Promise.all(this.readers.map(reader => reader.unblock(this.store.commands)));
      await sleep(UNBLOCK_EVERY_MS, ended.signal);
    }
  }

  /** Wait for running work while the lease is kept, until the deadline or until somebody hurries us. */
  private async drain(drainMs: number): Promise<void> {
    const renewal = setInterval(
      () => void this.orWarn('keeping the lease', () => this.beat()),
      this.leaseMs / 3,
    );
    const timer = new AbortController();
    this.abandon.signal.addEventListener('abort', () => timer.abort(), {once: true});
    if (!this.abandon.signal.aborted) await Promise.race([this.allTurns(), sleep(drainMs, timer.signal)]);
    timer.abort();
    clearInterval(renewal);
  }

  /** Hand back what still runs, settle what has ended, and give the worker id back: in this order. */
  private async finish(ours: boolean): Promise<void> {
    if (this.turns.size > 0) {
      this.log.warn('handing back unfinished work', {running: this.turns.size});
      this.abandonWork('worker stops');
    }
    while (this.turns.size > 0) await Promise.allSettled([...this.turns]);
    await Promise.all([
      this.orWarn('settling', () => this.env.settler.flush()),
      // It warns by itself.
      this.ends?.flush(),
      this.env.tracer?.flush(FLUSH_TRACES_MS),
    ]);
    if (!ours) return;
    const {keys} = this.store;
    const streams = [...this.agentTypes.map(keys.ctrlStream), ...[...this.onCallEver].map(keys.onCallStream)];
    await Promise.all(
      streams.map(stream =>
        this.orWarn('leaving the group', () => dropConsumer(this.store, stream, this.group, this.env.owner)),
      ),
    );
    await Promise.allSettled([...this.beats]);
    await this.orWarn('taking back what it told', () => dropWorkerMetrics(this.store, this.workerId));
    await this.orWarn('giving the worker id back', () =>
      Promise.all([leave(this.store, this.lease, this.agentTypes), this.status.leave()]),
    );
  }

  private async allTurns(): Promise<void> {
    // A read that was under way may still bring entries, so the set can grow while we wait.
    await Promise.race([Promise.allSettled(this.loops), sleep(READ_BLOCK_MS)]);
    while (this.turns.size > 0) await Promise.allSettled([...this.turns]);
  }

  private async orWarn(what: string, act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.log.warn(`${what} failed`, {error: messageOf(error)});
    }
  }

  private closeConnections(): void {
    this.status.close();
    this.isolation?.close();
    for (const reader of this.readers) reader.close();
    if (this.ownsStore) this.store.close();
  }
}

const handle = ({stream, id}: ControlEntry): string => `${stream}/${id}`;

/** The message of an entry's command; undefined if it can not be read. */
function messageIdOf(entry: ControlEntry): string | undefined {
  try {
    return readEntry(entry).header.messageId;
  } catch {
    // It becomes a dead letter when it is handled.
    return undefined;
  }
}

/** A stream, and the agent type its commands are for. */
interface Source {
  readonly agentType: string;
  readonly stream: string;
  readonly isOnCall: boolean;
}

/**
 * Which streams to read, and how many entries of each, so that no more arrives than can start.
 * With fewer slots than streams the streams take turns.
 */
export function shareSlots<T>(
  streams: readonly T[],
  free: number,
  rotation: number,
): {chosen: T[]; count: number} {
  if (free <= 0) return {chosen: [], count: 0};
  const from = rotation % Math.max(1, streams.length);
  const chosen =
    streams.length <= free
      ? [...streams]
      : [...streams.slice(from), ...streams.slice(0, from)].slice(0, free);
  return {chosen, count: Math.max(1, Math.floor(free / chosen.length))};
}

/** A best guess at an address others can see; '' if there is none. */
function localAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const address of addresses ?? []) {
      if (!address.internal && address.family === 'IPv4') return address.address;
    }
  }
  return '';
}

/** The page of its health and a page of its owner's may show the same counts. */
const countersOf = ({metrics, watch}: WorkerOptions): FrameworkCounts[] => [
  ...new Set([metrics, watch?.counts].filter(counts => counts !== undefined)),
];
