/** From the ready set to a control stream: each step of it as a pure decision. */
import {ByError} from '../errors.js';
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import type {Decision} from './decision.js';
import {ended, isOverdue, type Begun} from './ending.js';
import {unblocked} from './approving.js';
import {claimedIn, newPool, roomOf} from './pools.js';

/** What waits for a time wants its session, now that the time has come. Undefined: it waits on, or no more. */
export function due(work: Begun): Decision | undefined {
  const {nowMs, task, run, attempt, pool} = work;
  if (attempt.place !== 'delayed' || attempt.notBeforeAt > nowMs) return undefined;
  // A person's time is over; what becomes of it is seen when it is to be sent.
  if (attempt.status === 'blocked') return unblocked(work);
  return {
    task,
    runs: [run],
    attempts: [{...attempt, place: 'queued'}],
    joins: run.runId,
    // It may have waited for longer than its pool was kept.
    ...(pool === undefined ? {pool: newPool(task, undefined, nowMs)} : {}),
  };
}

/** Take an attempt out of the ready set, with its session. Undefined: not now. */
export function claimed(work: Begun): Decision | undefined {
  const {nowMs, task, run, attempt, pool, inflight, heads, holder, fence} = work;
  if (attempt.place !== 'queued' || attempt.status !== 'pending' || pool === undefined) return undefined;
  if (task.expiresAt !== undefined && task.expiresAt <= nowMs) return expired(work);
  const room = roomOf(pool, nowMs);
  if (inflight >= room || heads[0] !== run.runId || holder !== '') return undefined;
  const next: RunAttempt = {
    ...attempt,
    ...{place: 'inflight', dispatchPhase: 'claimed', phaseAt: nowMs, fence: fence + 1},
  };
  const probing = claimedIn(pool, attempt.attemptId);
  return {
    task,
    runs: [{...run, interaction: {...run.interaction, activeExecutionId: attempt.executionId}}],
    attempts: [next],
    takes: next,
    room,
    ...(probing === undefined ? {} : {pool: probing}),
  };
}

/** What was not sent by then is not sent any more. */
export const expired = (work: Begun): Decision =>
  ended(work, {
    status: 'error',
    errorClass: 'not_delivered',
    error: {code: 'EXPIRED', message: 'Its time to begin had passed.'},
    isPermanent: true,
    isProven: true,
  });

/** It was stopped before it was sent. */
export function stoppedBefore(work: Begun): Decision | undefined {
  const {dispatchPhase, stopClass} = work.attempt;
  if (dispatchPhase !== 'claimed') return undefined;
  const errorClass = stopClass === 'superseded' ? 'superseded' : 'cancelled';
  const error = {code: errorClass.toUpperCase(), message: 'It was stopped before it was sent.'};
  return ended(work, {status: 'cancelled', errorClass, error, isProven: true});
}

export interface Sent {
  readonly streamName: string;
  readonly streamId: string;
  readonly policy: string;
  readonly status: string;
  /** Workers that could have taken it; undefined where nobody could count them. */
  readonly routable: number | undefined;
  /** The last event of the session before it was sent. */
  readonly cursor: string;
}

/** It is on its stream. Undefined if that was noted before. */
export function sent(
  work: Begun,
  {streamName, streamId, policy, status, routable, cursor}: Sent,
): Decision | undefined {
  const {nowMs, task, run, attempt} = work;
  if (attempt.dispatchPhase !== 'claimed') return undefined;
  const {runId} = run;
  const {attemptId, attemptNo, tryNo, executionId, fence} = attempt;
  return {
    task,
    attempts: [
      {
        ...attempt,
        ...{dispatchPhase: 'sent', phaseAt: nowMs, ctrlStream: streamName},
        ...{firstCursor: cursor, logCursor: cursor},
        ...(streamId === '' ? {} : {streamId}),
      },
    ],
    events: [
      {
        type: 'dispatched',
        kind: 'lifecycle',
        ...{runId, attemptId},
        data: {
          ...{attempt_no: attemptNo, try_no: tryNo, max_attempts: task.policy.retry.maxAttempts},
          ...{execution_id: executionId, fence, route_policy: policy, route_status: status},
          ...(routable === undefined ? {} : {routable_workers: routable}),
        },
      },
    ],
  };
}

const FIRST_DEFERRAL_MS = 1000;
const MAX_DEFERRAL_WAIT_MS = 30_000;
export const DISPATCH_TRIES = 8;
const FIRST_RETRY_MS = 500;

/** Nobody can take it now: that is no failure, and uses up no try. */
const PUTS_OFF: ReadonlySet<string> = new Set([
  'AGENT_TYPE_UNAVAILABLE',
  'AGENT_TYPE_EXHAUSTED',
  'WORKER_EXHAUSTED',
  'WORKER_RESERVED',
  'WORKER_NOT_ONLINE',
  'AGENT_CIRCUIT_OPEN',
  'TENANT_QUOTA_EXCEEDED',
  'QUEUE_FULL',
  'POLICY_UNENFORCEABLE',
]);

/** It could not be sent: put off, tried again, or given up. */
export function notSent(work: Begun, error: unknown): Decision | undefined {
  if (work.attempt.dispatchPhase !== 'claimed') return undefined;
  const known = error instanceof ByError ? error : undefined;
  if (known !== undefined && PUTS_OFF.has(known.code)) return putOff(work, known);
  const reason = {
    code: known?.code ?? 'INTERNAL',
    message: error instanceof Error ? error.message : String(error),
  };
  const dispatchFailures = work.attempt.dispatchFailures + 1;
  if (known?.retryable !== false && dispatchFailures < DISPATCH_TRIES) {
    const waitMs = Math.min(FIRST_RETRY_MS * 2 ** (dispatchFailures - 1), MAX_DEFERRAL_WAIT_MS);
    return back(work, {...work.attempt, dispatchFailures}, waitMs, {...reason, failures: dispatchFailures});
  }
  const code = known?.retryable === false ? reason.code : 'DISPATCH_RETRY_EXHAUSTED';
  return {
    ...ended(work, {
      status: 'error',
      errorClass: 'not_delivered',
      error: {code, message: reason.message},
      isPermanent: true,
      isProven: true,
    }),
    undeliverable: {
      ...{task_id: work.task.taskId, run_id: work.run.runId, attempt_id: work.attempt.attemptId},
      ...{message_id: work.attempt.messageId, code: reason.code, message: reason.message},
    },
  };
}

function putOff(work: Begun, {code, message, details}: ByError): Decision {
  const {nowMs, task, attempt} = work;
  if (isOverdue(task, attempt, nowMs))
    return ended(work, {
      status: 'error',
      errorClass: 'not_delivered',
      error: {code, message},
      isPermanent: true,
      isProven: true,
    });
  const {deferrals} = attempt;
  const told = details['retryAfterMs'];
  const waitMs =
    typeof told === 'number' && told > 0
      ? told
      : Math.min(FIRST_DEFERRAL_MS * 2 ** deferrals, MAX_DEFERRAL_WAIT_MS);
  const until = Math.min(nowMs + waitMs, task.expiresAt ?? Infinity);
  return back(work, {...attempt, deferrals: deferrals + 1}, until - nowMs, {code, deferrals: deferrals + 1});
}

/** Let go of session and pool, and wait; the run keeps its place in the session. */
function back(
  work: Begun,
  attempt: RunAttempt,
  waitMs: number,
  data: Readonly<Record<string, unknown>>,
): Decision {
  const {nowMs, task, run, pool} = work;
  const {attemptId} = attempt;
  const until = nowMs + waitMs;
  return {
    task,
    attempts: [
      {
        ...attempt,
        ...{place: 'delayed', dispatchPhase: 'none', phaseAt: nowMs, notBeforeAt: until},
        statusReason: String(data['code']),
      },
    ],
    releases: attemptId,
    ...(pool?.probeAttemptId === attemptId
      ? {pool: {...pool, status: 'degraded', probeAttemptId: undefined, openUntilAt: until}}
      : {}),
    events: [
      {
        type: 'deferred',
        kind: 'lifecycle',
        ...{runId: run.runId, attemptId},
        data: {...data, retry_after_ms: waitMs, until},
      },
    ],
  };
}
