/** What schedules need of the part that runs tasks: submit one, ask whether it has ended, cancel it. */

export interface ScheduledSubmit {
  readonly workspace: string;
  readonly agentId?: string;
  readonly agentType?: string;
  readonly message: string;
  readonly sessionId: string;
  readonly lane: string;
  /** The same key again is the same task, for at least seven days, whatever else has changed since. */
  readonly idempotencyKey: string;
  /** `schedule:` and the schedule's id. */
  readonly spawnedBy: string;
  readonly label: string;
  readonly priority?: 'low' | 'normal' | 'high' | 'urgent';
  /** Of each attempt, in milliseconds; 0: none. */
  readonly timeoutMs?: number;
  readonly policy?: Readonly<Record<string, unknown>>;
  /** Which schedule, which tick, and the skills the agent is to use. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * Submit a task.
 * @throws {ByError} not retryable: this task will never be accepted (its agent is gone, its policy is wrong). Anything
 *   else thrown may pass, and the same submit is made again later.
 */
export type SubmitTask = (
  params: ScheduledSubmit,
  signal?: AbortSignal,
) => Promise<{readonly taskId: string; readonly idempotentHit?: boolean}>;

export interface SchedulePort {
  /**
   * How tasks end is noted where schedulers find it: then the success of one ends a row of failures, and failures of tasks count for
   * `pauseAfterFailures`. Default false: whatever could be submitted ends it.
   */
  readonly tellsEnds?: boolean;
  readonly submitTask: SubmitTask;
  /** Also true for a task nobody knows any more. */
  isTaskFinal(workspace: string, taskId: string): Promise<boolean>;
  /** Harmless for a task that has ended. */
  cancelTask(workspace: string, taskId: string): Promise<void>;
  /** For people: `done`, `running`, `error` … Undefined if nobody knows it any more. */
  taskStatus?(workspace: string, taskId: string): Promise<string | undefined>;
}
