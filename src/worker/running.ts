/** The executions this worker runs now, and the ways to stop one. */
import type {Outcome} from '../protocol/journal.js';
import type {TurnIdentity} from './event-writer.js';

/** Why a turn is not ours to end any more. Only one that is still ours can be handed back. */
export type AbandonReason = 'fenced' | 'worker stops' | 'lease lost';

export interface RunningTask {
  readonly executionId: string;
  readonly messageId: string;
  readonly turn: TurnIdentity;
  /** Given to agent code; made when it is first asked for, for most never look at it. */
  readonly signal: AbortSignal;
  /** Why it is to stop: the signal's reason. Undefined while it is not. */
  readonly stopReason: DOMException | undefined;
  /** Be told when it is to stop, at once if it is already. */
  onStop(listener: (reason: DOMException) => void): void;
  /** Set once somebody cancelled it. */
  readonly cancelReason: string | undefined;
  /** Its deadline has passed. */
  readonly isLate: boolean;
  /** Set once the turn is not ours any more: nothing may be written for it. */
  readonly abandonReason: AbandonReason | undefined;
  /** Ask it to stop; with `force`, do not wait for it. */
  cancel(reason: string, force: boolean): void;
  /** Its deadline has passed: ask it to stop. */
  expire(): void;
  abandon(reason: AbandonReason): void;
  /** Tell the code what it would else read before it waits. */
  hear(heard: Heard): void;
  /** Be told, also of what was heard before. */
  listen(listener: (heard: Heard) => void): void;
  /** Whether somebody is told what is heard: the turn of a durable execution. */
  readonly isListening: boolean;
  /**
   * Resolves when waiting for the handler makes no sense any more: `graceMs` after it was asked to stop, else at once.
   */
  stopped(graceMs: number): Promise<'stopped'>;
}

/** An answer that was kept while a turn of a durable execution runs. */
export interface Heard {
  /** Of its entry in the journal. */
  readonly index: number;
  readonly outcome: Outcome;
}

/** What was cancelled while a claim was under way, by execution id. */
export type ClaimUnderWay = Map<string, {readonly reason: string; readonly force: boolean}>;

export class RunningTasks {
  private readonly tasks = new Map<string, RunningTask>();
  private readonly claims = new Set<ClaimUnderWay>();

  get size(): number {
    return this.tasks.size;
  }

  begin(turn: TurnIdentity, messageId: string, claim: ClaimUnderWay): RunningTask {
    const task = new Task(turn, messageId);
    this.tasks.set(task.executionId, task);
    const cancelled = claim.get(task.executionId);
    if (cancelled !== undefined) task.cancel(cancelled.reason, cancelled.force);
    return task;
  }

  /**
   * Run `claim`, which ends with {@link begin} if the execution became ours. A cancel that comes after the server has
   * taken the claim and before we have its answer is not lost.
   */
  async whileClaiming<T>(claim: (underWay: ClaimUnderWay) => Promise<T>): Promise<T> {
    const underWay: ClaimUnderWay = new Map();
    this.claims.add(underWay);
    try {
      return await claim(underWay);
    } finally {
      this.claims.delete(underWay);
    }
  }

  /** Cancel an execution that runs here, or whose claim is under way. @returns whether it runs. */
  cancel(executionId: string, messageId: string, reason: string, force: boolean): boolean {
    const task = this.find(executionId, messageId);
    if (task === undefined) for (const claim of this.claims) claim.set(executionId, {reason, force});
    task?.cancel(reason, force);
    return task !== undefined;
  }

  /** An answer was kept for a turn; if it runs here, it need not read it. */
  hear({executionId, fence}: {readonly executionId: string; readonly fence: string}, heard: Heard): void {
    const task = this.tasks.get(executionId);
    if (task?.turn.fence === fence) task.hear(heard);
  }

  /** The turn of a durable execution that runs here. */
  listening(executionId: string): RunningTask | undefined {
    const task = this.tasks.get(executionId);
    return task?.isListening === true ? task : undefined;
  }

  end(task: RunningTask): void {
    if (this.tasks.get(task.executionId) === task) this.tasks.delete(task.executionId);
  }

  /** Senders name the execution, the message, or both. */
  private find(executionId: string, messageId: string): RunningTask | undefined {
    const byExecution = this.tasks.get(executionId);
    if (byExecution) return byExecution;
    return [...this.tasks.values()].find(task => task.messageId === messageId);
  }

  all(): RunningTask[] {
    return [...this.tasks.values()];
  }

  abandonAll(reason: AbandonReason): void {
    for (const task of this.tasks.values()) task.abandon(reason);
  }
}

/** What agent code finds as the signal's reason. */
const ABANDONED: Readonly<Record<AbandonReason, string>> = {
  fenced: 'FENCED: another attempt owns this execution',
  'worker stops': 'the worker stops and hands the execution back',
  'lease lost': 'LEASE_LOST: another process holds the worker id',
};

class Task implements RunningTask {
  cancelReason: string | undefined;
  abandonReason: AbandonReason | undefined;
  isLate = false;
  stopReason: DOMException | undefined;
  private isOver = false;
  private controller: AbortController | undefined;
  private stopListeners: ((reason: DOMException) => void)[] = [];
  private unheard: Heard[] = [];
  private listener: ((heard: Heard) => void) | undefined;
  /** Called when it was asked to stop, and again when nobody is to wait any more. */
  private watchers: (() => void)[] = [];

  constructor(
    readonly turn: TurnIdentity,
    readonly messageId: string,
  ) {}

  get executionId(): string {
    return this.turn.executionId;
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.stopReason !== undefined) this.controller.abort(this.stopReason);
    }
    return this.controller.signal;
  }

  onStop(listener: (reason: DOMException) => void): void {
    if (this.stopReason === undefined) this.stopListeners.push(listener);
    else listener(this.stopReason);
  }

  cancel(reason: string, force: boolean): void {
    this.cancelReason ??= reason;
    this.stop(new DOMException(reason || 'cancelled', 'AbortError'), force);
  }

  expire(): void {
    this.isLate = true;
    this.stop(new DOMException('DEADLINE_EXCEEDED: the deadline has passed', 'TimeoutError'), false);
  }

  abandon(reason: AbandonReason): void {
    this.abandonReason ??= reason;
    this.stop(new DOMException(ABANDONED[reason], 'AbortError'), true);
  }

  hear(heard: Heard): void {
    if (this.listener === undefined) this.unheard.push(heard);
    else this.listener(heard);
  }

  get isListening(): boolean {
    return this.listener !== undefined;
  }

  listen(one: (heard: Heard) => void): void {
    this.listener = one;
    for (const heard of this.unheard) one(heard);
    this.unheard = [];
  }

  stopped(graceMs: number): Promise<'stopped'> {
    return new Promise(resolve => {
      let timer: NodeJS.Timeout | undefined;
      const end = () => {
        clearTimeout(timer);
        resolve('stopped');
      };
      const watch = () => {
        if (this.isOver) end();
        else if (this.stopReason !== undefined) timer ??= setTimeout(end, graceMs).unref();
      };
      this.watchers.push(watch);
      watch();
    });
  }

  /** The first reason stays; who is asked again is to stop at once if that is said. */
  private stop(reason: DOMException, atOnce: boolean): void {
    this.isOver ||= atOnce;
    if (this.stopReason === undefined) {
      this.stopReason = reason;
      this.controller?.abort(reason);
      for (const listener of this.stopListeners) listener(reason);
      this.stopListeners = [];
    }
    for (const watch of this.watchers) watch();
  }
}
