/** The executions this worker runs now, and the ways to stop one. */
import type {Outcome} from '../protocol/journal.js';
import type {TurnIdentity} from './event-writer.js';

/** Why a turn is not ours to end any more. Only one that is still ours can be handed back. */
export type AbandonReason = 'fenced' | 'worker stops' | 'lease lost';

export interface RunningTask {
  readonly executionId: string;
  readonly messageId: string;
  readonly turn: TurnIdentity;
  /** Given to agent code. */
  readonly signal: AbortSignal;
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
    const task = createTask(turn, messageId);
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

function createTask(turn: TurnIdentity, messageId: string): RunningTask {
  const controller = new AbortController();
  let cancelReason: string | undefined;
  let abandonReason: AbandonReason | undefined;
  let isLate = false;
  let unheard: Heard[] = [];
  let listener: ((heard: Heard) => void) | undefined;
  let graceful: () => void = () => undefined;
  let atOnce: () => void = () => undefined;
  const asked = new Promise<void>(resolve => (graceful = resolve));
  const ended = new Promise<void>(resolve => (atOnce = resolve));
  return {
    executionId: turn.executionId,
    messageId,
    turn,
    signal: controller.signal,
    get cancelReason() {
      return cancelReason;
    },
    get abandonReason() {
      return abandonReason;
    },
    get isLate() {
      return isLate;
    },
    cancel(reason, force) {
      cancelReason ??= reason;
      controller.abort(new DOMException(reason || 'cancelled', 'AbortError'));
      graceful();
      if (force) atOnce();
    },
    expire() {
      isLate = true;
      controller.abort(new DOMException('DEADLINE_EXCEEDED: the deadline has passed', 'TimeoutError'));
      graceful();
    },
    abandon(reason) {
      abandonReason ??= reason;
      controller.abort(new DOMException(ABANDONED[reason], 'AbortError'));
      atOnce();
    },
    hear(heard) {
      if (listener === undefined) unheard.push(heard);
      else listener(heard);
    },
    listen(one) {
      listener = one;
      for (const heard of unheard) one(heard);
      unheard = [];
    },
    async stopped(graceMs) {
      let timer: NodeJS.Timeout | undefined;
      const late = asked.then(
        () => new Promise<void>(resolve => (timer = setTimeout(resolve, graceMs).unref())),
      );
      await Promise.race([ended, late]);
      clearTimeout(timer);
      return 'stopped';
    },
  };
}
