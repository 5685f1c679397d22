/**
 * Executions that crashed before, each in a process of its own (G4): the next crash takes nobody with it, and nobody
 * has to make room. The process works under this worker's name, lease and fences. What is said to the execution here
 * (cancel, give up) is passed on; when the process dies, the attempt is counted as a crash and tried again.
 */
import {fork, type ChildProcess} from 'node:child_process';
import {availableParallelism} from 'node:os';
import {backoffMs} from '../backoff.js';
import {messageOf} from '../errors.js';
import type {LogFields, LogLevel} from '../log.js';
import {once} from '../once.js';
import type {FrameworkCounts} from '../observe/framework-metrics.js';
import type {HookNote} from '../plugins/hooks.js';
import {codeFile, isBuilt} from '../config/package-info.js';
import {ProtocolError, type ProtocolErrorCode} from '../protocol/limits.js';
import {tellSpan} from '../protocol/tracer.js';
import type {StoreOptions} from '../store/store.js';
import type {TurnIdentity} from './event-writer.js';
import {answerHistory, type HistoryAnswer, type HistoryRequest} from './isolated-history.js';
import {Places} from './places.js';
import type {RelayedSpan} from './trace-relay.js';
import type {AbandonReason, ClaimUnderWay, RunningTask} from './running.js';
import type {Delivery, TurnEnvironment, TurnOutcome} from './turn.js';

/** Everything the process needs to run one turn. It travels over a private pipe: it holds the connection's secrets. */
export interface IsolatedJob {
  /** The file that exports the agents. */
  readonly agentsFile: string;
  readonly agentType: string;
  readonly store: StoreOptions;
  readonly delivery: Delivery;
  readonly worker: Pick<
    TurnEnvironment,
    'workerId' | 'owner' | 'group' | 'cancelGraceMs' | 'maxAttempts' | 'workspaceRoot'
  >;
  readonly deletesEntries: boolean;
  /** The worker keeps a history: it is asked for it, wherever it keeps it. */
  readonly hasHistory: boolean;
  /** Undefined: nobody is told of spans. */
  readonly traces?: {readonly takesContent: boolean};
  readonly plugins: IsolatedPlugins;
}

/** The plugins of the worker, as far as another process can have them. */
export interface IsolatedPlugins {
  readonly paths: readonly string[];
  readonly settings: Readonly<Record<string, unknown>> | undefined;
  readonly hookTimeoutMs: number | undefined;
}

export type ToIsolated =
  | {readonly kind: 'job'; readonly job: IsolatedJob}
  /** The job that is loaded may claim its execution. */
  | {readonly kind: 'go'}
  | {readonly kind: 'cancel'; readonly reason: string; readonly force: boolean}
  | {readonly kind: 'abandon'; readonly reason: AbandonReason}
  | HistoryAnswer;

export type FromIsolated =
  /** The agents are loaded, and it waits to be told to go. From here on the process ends by what it runs. */
  | {readonly kind: 'loaded'}
  | {readonly kind: 'begun'; readonly turn: TurnIdentity; readonly messageId: string}
  | {readonly kind: 'log'; readonly level: LogLevel; readonly message: string; readonly fields: LogFields}
  /** What is stored of the execution can not be worked with. */
  | {readonly kind: 'unreadable'; readonly code: ProtocolErrorCode; readonly reason: string}
  | {readonly kind: 'hook'; readonly note: HookNote}
  | {readonly kind: 'ended'; readonly agentType: string; readonly status: string}
  | {readonly kind: 'counted'; readonly what: Counted}
  | HistoryRequest
  | {readonly kind: 'span'; readonly span: RelayedSpan}
  | {readonly kind: 'outcome'; readonly outcome: TurnOutcome};

/** One call of {@link FrameworkCounts}, whose counters are the worker's. */
export type Counted = {
  readonly [K in keyof FrameworkCounts]: {readonly name: K; readonly args: Parameters<FrameworkCounts[K]>};
}[keyof FrameworkCounts];

function count(metrics: FrameworkCounts | undefined, counted: Counted): void {
  switch (counted.name) {
    case 'routed':
      return metrics?.routed(...counted.args);
    case 'started':
      return metrics?.started(...counted.args);
    case 'ended':
      return metrics?.ended(...counted.args);
  }
}

/** Processes at once. Each costs what a worker costs before it works: some 60 MB and a third of a second. */
const AT_ONCE = 8;
/**
 * Processes that start at once. Starting is what costs processor time; with many at once the worker's own heartbeats
 * would come late, and what runs well would be taken for dead.
 */
const STARTS_AT_ONCE = Math.max(1, Math.floor(availableParallelism() / 2));
const LONGEST_START_MS = 5000;
/** How long a process that has done its work waits for more. */
const IDLE_MS = 10_000;
/** The wait before another start, doubled with each attempt. */
const AFTER_CRASH = {baseMs: 250, maxMs: 10_000};
/** How long a process has to end after it was told that nobody waits for it any more. */
const LAST_WORDS_MS = 1000;

export class Isolation {
  private readonly children = new Set<ChildProcess>();
  private readonly versions = new WeakMap<ChildProcess, number>();
  /** Processes whose last execution ended well, and what will end them. */
  private readonly idle = new Map<ChildProcess, NodeJS.Timeout>();
  private readonly places = new Places(AT_ONCE);
  private readonly starts = new Places(STARTS_AT_ONCE);
  /** Gives up those that have not been told to go. */
  private readonly loading = new Set<() => void>();

  /** @param closing aborted when nothing new is begun. */
  constructor(
    private readonly agentsFile: string,
    private readonly store: StoreOptions,
    private readonly closing: AbortSignal,
    /** Of the worker. */
    private readonly slots: number,
    private readonly plugins: IsolatedPlugins = {paths: [], settings: undefined, hookTimeoutMs: undefined},
    /** Counts what the worker's plugins were built from: a process that loaded something older is not used again. */
    private readonly configVersion: () => number = () => 0,
  ) {
    closing.addEventListener('abort', () => {
      this.places.close();
      this.starts.close();
      for (const giveUp of this.loading) giveUp();
    });
  }

  /** How many more may be run here. As many wait as run, in half of the slots: others are better off with another worker. */
  get room(): number {
    const most = Math.min(2 * AT_ONCE, Math.max(1, Math.floor(this.slots / 2)));
    return Math.max(0, most - this.places.wanted);
  }

  /**
   * @returns what became of the turn; 'unable' if a process for it can not be started.
   * @throws {ProtocolError} if what is stored of the execution can not be worked with.
   */
  async run(env: TurnEnvironment, delivery: Delivery, agentType: string): Promise<TurnOutcome | 'unable'> {
    if (!(await this.places.enter())) return UNBEGUN;
    try {
      const child = this.takeIdle();
      if (child !== undefined) return await this.runIn(child, env, delivery, agentType, () => undefined);
      if (!(await this.starts.enter())) return UNBEGUN;
      const started = once(() => this.starts.leave());
      // Code that takes long to load, or for ever, keeps the others waiting for so long only.
      const timer = setTimeout(started, LONGEST_START_MS);
      try {
        return await this.runIn(this.takeIdle() ?? this.start(), env, delivery, agentType, started);
      } finally {
        clearTimeout(timer);
        started();
      }
    } finally {
      this.places.leave();
    }
  }

  /** End what still runs: its attempts are fenced, or counted as crashes by whoever takes them over. */
  close(): void {
    for (const child of this.children) child.kill('SIGKILL');
  }

  /** @param started called once it has loaded the agents. */
  private async runIn(
    child: ChildProcess,
    env: TurnEnvironment,
    delivery: Delivery,
    agentType: string,
    started: () => void,
  ): Promise<TurnOutcome | 'unable'> {
    const job: IsolatedJob = {
      ...{agentsFile: this.agentsFile, agentType, store: this.store, delivery},
      worker: {
        ...{workerId: env.workerId, owner: env.owner, group: env.group},
        ...{cancelGraceMs: env.cancelGraceMs, maxAttempts: env.maxAttempts},
        workspaceRoot: env.workspaceRoot,
      },
      deletesEntries: env.deletesEntries(delivery.entry.stream),
      hasHistory: env.history !== undefined,
      plugins: this.plugins,
      ...(env.tracer === undefined ? {} : {traces: {takesContent: env.tracer.takesContent}}),
    };
    const {outcome, isReusable} = await env.running.whileClaiming(underWay =>
      carryOut({child, loading: this.loading, started}, job, env, underWay),
    );
    if (isReusable && !this.closing.aborted) this.keep(child);
    else child.kill('SIGKILL');
    return outcome;
  }

  private start(): ChildProcess {
    const child = fork(codeFile(`src/worker/isolated.${isBuilt() ? 'js' : 'ts'}`), {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      // A debugger's port can be used once.
      execArgv: isBuilt()
        ? process.execArgv.filter(option => !option.startsWith('--inspect'))
        : ['--import', 'tsx'],
    });
    this.children.add(child);
    this.versions.set(child, this.configVersion());
    child.once('close', () => {
      this.children.delete(child);
      clearTimeout(this.idle.get(child));
      this.idle.delete(child);
    });
    return child;
  }

  private keep(child: ChildProcess): void {
    if (!this.isCurrent(child)) {
      child.kill('SIGKILL');
      return;
    }
    this.idle.set(
      child,
      setTimeout(() => child.kill('SIGKILL'), IDLE_MS),
    );
  }

  private takeIdle(): ChildProcess | undefined {
    for (const [child, timer] of this.idle) {
      clearTimeout(timer);
      this.idle.delete(child);
      if (this.isCurrent(child)) return child;
      child.kill('SIGKILL');
    }
    return undefined;
  }

  private isCurrent(child: ChildProcess): boolean {
    return this.versions.get(child) === this.configVersion();
  }
}

const UNBEGUN: TurnOutcome = {kind: 'unbegun'};

interface CarriedOut {
  readonly outcome: TurnOutcome | 'unable';
  /** The execution ended, and nothing of it can be left in the process. */
  readonly isReusable: boolean;
}

interface Place {
  readonly child: ChildProcess;
  /** What is in it is called when nothing new is begun. */
  readonly loading: Set<() => void>;
  /** Called once the child has loaded the agents. */
  readonly started: () => void;
}

function carryOut(
  {child, loading, started}: Place,
  job: IsolatedJob,
  env: TurnEnvironment,
  underWay: ClaimUnderWay,
): Promise<CarriedOut> {
  let hasLoaded = false;
  let task: RunningTask | undefined;
  return new Promise<CarriedOut>((resolve, reject) => {
    const onMessage = (message: FromIsolated) => {
      switch (message.kind) {
        case 'loaded':
          hasLoaded = true;
          loading.delete(giveUp);
          started();
          tell(child, {kind: 'go'});
          break;
        case 'begun':
          task = env.running.begin(message.turn, message.messageId, underWay);
          passOn(task, child, env.cancelGraceMs);
          break;
        case 'log':
          env.log[message.level](message.message, message.fields);
          break;
        case 'unreadable':
          reject(new ProtocolError(message.code, message.reason));
          break;
        case 'ended':
          env.ends?.note(message.agentType, message.status);
          break;
        case 'counted':
          count(env.metrics, message.what);
          break;
        case 'hook':
          env.plugins?.noteHookCall(message.note);
          break;
        case 'history':
          void answerHistory(env.history, message, answer => tell(child, answer));
          break;
        case 'span': {
          const {start, end} = message.span;
          if (env.tracer?.keeps(start.traceId) === true) tellSpan(env.tracer, start, end);
          break;
        }
        case 'outcome':
          over({outcome: message.outcome, isReusable: task?.stopReason === undefined});
          break;
      }
    };
    const onError = (error: Error) => {
      env.log.warn('no process of its own for an execution that crashed', {error: messageOf(error)});
      if (child.pid === undefined) over({outcome: 'unable', isReusable: false});
    };
    const onClose = (code: number | null, signal: NodeJS.Signals | null) => {
      if (!hasLoaded) {
        over({outcome: 'unable', isReusable: false});
        return;
      }
      const delayMs = backoffMs(attemptOf(task), AFTER_CRASH);
      env.log.warn('its process ended before the execution did', {
        ...{execution_id: task?.executionId, exit_code: code, signal, delay_ms: delayMs},
      });
      over({outcome: {kind: 'later', delayMs}, isReusable: false});
    };
    // Until it is told to go it has claimed nothing: an attempt that began now would be cut off, and count as a crash.
    const giveUp = () => over({outcome: UNBEGUN, isReusable: false});
    const over = (result: CarriedOut) => {
      child.off('message', onMessage).off('error', onError).off('close', onClose);
      loading.delete(giveUp);
      resolve(result);
    };
    loading.add(giveUp);
    child.on('message', onMessage).on('error', onError).on('close', onClose);
    tell(child, {kind: 'job', job});
  }).finally(() => {
    if (task !== undefined) env.running.end(task);
  });
}

/** Tell the process what the task here is told. One that does not end then is ended. */
function passOn(task: RunningTask, child: ChildProcess, cancelGraceMs: number): void {
  task.onStop(() => {
    if (task.abandonReason === undefined)
      tell(child, {kind: 'cancel', reason: task.cancelReason ?? '', force: false});
    else tell(child, {kind: 'abandon', reason: task.abandonReason});
  });
  void task.stopped(cancelGraceMs).then(() => {
    if (task.abandonReason === undefined)
      tell(child, {kind: 'cancel', reason: task.cancelReason ?? '', force: true});
    else tell(child, {kind: 'abandon', reason: task.abandonReason});
    const timer = setTimeout(() => child.kill('SIGKILL'), LAST_WORDS_MS);
    child.once('close', () => clearTimeout(timer));
  });
}

/** What can not be delivered concerns a process that is gone, and its end says the rest. */
const tell = (child: ChildProcess, message: ToIsolated): void => {
  if (child.connected) child.send(message, () => undefined);
};

const attemptOf = (task: RunningTask | undefined): number =>
  Math.max(1, Number.parseInt(task?.turn.fence ?? '1', 10));
