/** The executions this worker runs now, and the ways to stop one. */
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
  /** Set once the turn is not ours any more: nothing may be written for it. */
  readonly abandonReason: AbandonReason | undefined;
  /** Ask it to stop; with `force`, do not wait for it. */
  cancel(reason: string, force: boolean): void;
  abandon(reason: AbandonReason): void;
  /** Resolves when waiting for the handler makes no sense any more: `graceMs` after a cancel, else at once. */
  stopped(graceMs: number): Promise<'stopped'>;
}

export class RunningTasks {
  private readonly tasks = new Map<string, RunningTask>();

  get size(): number {
    return this.tasks.size;
  }

  begin(turn: TurnIdentity, messageId: string): RunningTask {
    const task = createTask(turn, messageId);
    this.tasks.set(task.executionId, task);
    return task;
  }

  end(task: RunningTask): void {
    if (this.tasks.get(task.executionId) === task) this.tasks.delete(task.executionId);
  }

  /** Senders name the execution, the message, or both. */
  find(executionId: string, messageId: string): RunningTask | undefined {
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
    cancel(reason, force) {
      cancelReason ??= reason;
      controller.abort(new DOMException(reason || 'cancelled', 'AbortError'));
      graceful();
      if (force) atOnce();
    },
    abandon(reason) {
      abandonReason ??= reason;
      controller.abort(new DOMException(ABANDONED[reason], 'AbortError'));
      atOnce();
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
