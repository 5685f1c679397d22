/** Attempts: one try at a run, which is exactly one execution of by-framework. */
import {z} from 'zod';
import {at, count, record} from './record.js';
import {ATTEMPT_STATES, DISPATCH_PHASES, ERROR_CLASSES} from './states.js';

export const STRATEGIES = ['primary', 'retry', 'input', 'interrupt', 'recovery'] as const;
/**
 * Where an attempt is kept: `queued` until its session and its pool have room, `delayed` until a time, `inflight` from its
 * claim to the proven end of what runs it, then `gone`.
 */
export const PLACES = ['queued', 'delayed', 'inflight', 'gone'] as const;

export const RunAttempt = record({
  attemptId: z.string(),
  runId: z.string(),
  taskId: z.string(),
  attemptNo: z.number().int().min(1),
  strategy: z.enum(STRATEGIES),
  /** Tries of the run so far, this one among them. */
  tryNo: z.number().int().min(1),
  status: z.enum(ATTEMPT_STATES),
  statusReason: z.string().optional(),
  place: z.enum(PLACES),
  dispatchPhase: z.enum(DISPATCH_PHASES),
  /** When the phase began. */
  phaseAt: at(),
  /** What is said in this turn; absent for the task's message. */
  message: z.string().optional(),
  messageId: z.string(),
  executionId: z.string(),
  ctrlStream: z.string().optional(),
  streamId: z.string().optional(),
  workerId: z.string().optional(),
  /** Of the session when it was claimed; 0 before. */
  fence: count(),
  notBeforeAt: at(),
  stopRequestedAt: at().optional(),
  stopMode: z.enum(['graceful', 'force']).optional(),
  /** What its end will mean, where it was stopped on purpose. */
  stopClass: z.enum(['cancelled', 'timeout', 'superseded', 'worker_lost']).optional(),
  deadlineAt: at().optional(),
  /** Since when it has waited for a person; its time stands still meanwhile. */
  waitingSinceAt: at().optional(),
  /** Since when its worker has had no lease. */
  lostSinceAt: at().optional(),
  errorClass: z.enum(ERROR_CLASSES).optional(),
  error: record({code: z.string(), message: z.string()}).optional(),
  /** Times it was put off because nobody could take it: no retries. */
  deferrals: count(),
  /** Times sending it failed. */
  dispatchFailures: count(),
  /** Stream id in the session's events after which this attempt's begin. */
  firstCursor: z.string(),
  /** Of the last event whose text was logged. */
  logCursor: z.string(),
  createdAt: at(),
  startedAt: at().optional(),
  endedAt: at().optional(),
  version: count(),
});
export type RunAttempt = z.output<typeof RunAttempt>;

/** Who has a session. @param workerId undefined while nobody knows who will run it. */
export const leaseOwner = (workerId: string | undefined, executionId: string): string =>
  `${workerId ?? '?'}:${executionId}`;

/** The execution in a session lease's owner, `workerID:executionID`; '' if there is none. */
export const extractLeaseExecutionID = (owner: string): string =>
  owner.includes(':') ? owner.slice(owner.lastIndexOf(':') + 1) : '';
