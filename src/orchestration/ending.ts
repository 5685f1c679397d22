/** What follows the end of an attempt: another try, the next turn, or the end of the run. Pure. */
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import type {PendingInput} from '../protocol/orchestration/input.js';
import {RETRY_CLASSES, retryDelayMs, type RetryClass} from '../protocol/orchestration/policy.js';
import {MAX_RESULT_TEXT, type AgentRun} from '../protocol/orchestration/run.js';
import {
  isFinalRun,
  type ErrorClass,
  type RunState,
  type TaskState,
} from '../protocol/orchestration/states.js';
import type {AgentTask} from '../protocol/orchestration/task.js';
import type {Work} from '../store/orchestration.js';
import {nextAttempt} from './begin.js';
import type {Decision, NewEvent, NewSnapshot} from './decision.js';
import {afterEnd} from './pools.js';

/** How an attempt ended. */
export interface End {
  readonly status: 'ok' | 'error' | 'timeout' | 'cancelled';
  readonly errorClass?: ErrorClass;
  readonly error?: {readonly code: string; readonly message: string};
  /** What it answered. */
  readonly text?: string;
  /** The worker says that another try makes no sense. */
  readonly isPermanent?: boolean;
  /** Nothing runs any more. Where that is not known the attempt keeps its session and its place in the pool. */
  readonly isProven: boolean;
  /** Milliseconds to wait before another try where a quota is used up. */
  readonly waitMs?: number;
}

/** A work whose run and attempt are there. */
export type Begun = Work & {readonly run: AgentRun; readonly attempt: RunAttempt};

export const isBegun = (work: Work | undefined): work is Begun =>
  work?.run !== undefined && work.attempt !== undefined;

/** @param jitter 0 to 1, for pauses of the pool. */
export function ended(work: Begun, end: End, jitter = 0.5): Decision {
  const {nowMs, run, pool} = work;
  if (isFinalRun(run.status)) return letGo(work);
  const attempt: RunAttempt = {
    ...work.attempt,
    status: end.status,
    errorClass: end.errorClass,
    error: end.error,
    endedAt: nowMs,
    waitingSinceAt: undefined,
    place: end.isProven ? 'gone' : 'inflight',
  };
  const nextPool = pool && afterEnd(pool, attempt, nowMs, jitter);
  const common = {
    ...(nextPool === undefined ? {} : {pool: nextPool}),
    ...(end.isProven ? {releases: attempt.attemptId} : {}),
  };
  const next = end.isProven ? followedBy(work, attempt, end) : undefined;
  return {...common, ...(next ?? runEnded(work, attempt, end))};
}

/** What belonged to a run that has ended meanwhile changes nothing but that it is over: its session is free. */
function letGo({task, run, attempt}: Begun): Decision {
  const {attemptId} = attempt;
  return {
    task,
    attempts: [{...attempt, place: 'gone'}],
    releases: attemptId,
    leaves: run.runId,
    events: [{type: 'late_result_ignored', kind: 'lifecycle', runId: run.runId, attemptId}],
  };
}

/** @returns undefined if nothing follows. */
function followedBy(work: Begun, attempt: RunAttempt, end: End): Decision | undefined {
  if (work.run.cancelRequestedAt !== undefined) return undefined;
  if (end.status === 'ok' || attempt.errorClass === 'superseded') return nextTurn(work, attempt);
  return nextTry(work, attempt, end);
}

/** Inputs that were buffered go with the next turn: one by one, those that are collected together. */
function nextTurn(work: Begun, attempt: RunAttempt): Decision | undefined {
  const {nowMs, task, inputs} = work;
  const due = nextInputs(inputs);
  const [first] = due;
  if (first === undefined) return undefined;
  const isInterrupt = first.mode === 'interrupt';
  const notBeforeAt = Math.max(nowMs, ...due.map(input => input.notBeforeAt ?? 0));
  const next = nextAttempt(work.run, nowMs, {
    strategy: isInterrupt ? 'interrupt' : 'input',
    tryNo: 1,
    message: due.map(({message}) => message).join('\n\n'),
    notBeforeAt,
    place: notBeforeAt > nowMs ? 'delayed' : 'queued',
  });
  const {attemptId} = next.attempt;
  const {runId} = next.run;
  const left = inputs.filter(({state}) => state === 'buffered').length - due.length;
  return {
    task: {...task, status: 'running'},
    runs: [{...next.run, status: 'running', interaction: working(next.run, nowMs, left)}],
    attempts: [attempt, next.attempt],
    inputs: due.map((input, at) => ({...input, state: at === 0 ? 'delivered' : 'merged'})),
    events: [
      ...(attempt.errorClass === 'superseded'
        ? [{type: 'attempt_superseded', kind: 'lifecycle', runId, attemptId: attempt.attemptId} as const]
        : []),
      {
        type: isInterrupt ? 'interrupted' : 'input_dispatched',
        kind: 'input',
        ...{runId, attemptId},
        data: {input_ids: due.map(({inputId}) => inputId)},
      },
    ],
    logs: due.map(input => ({runId, attemptId, stream: 'user', data: input.message, chunkType: 'input'})),
  };
}

/** What interrupts goes before what follows. */
export function nextInputs(inputs: readonly PendingInput[]): PendingInput[] {
  const buffered = inputs.filter(({state}) => state === 'buffered');
  const first = buffered.find(({mode}) => mode === 'interrupt') ?? buffered[0];
  if (first === undefined) return [];
  if (first.mode !== 'collect') return [first];
  const from = buffered.indexOf(first);
  const rest = buffered.slice(from);
  const until = rest.findIndex(({mode}) => mode !== 'collect');
  return until === -1 ? rest : rest.slice(0, until);
}

function nextTry(work: Begun, attempt: RunAttempt, end: End): Decision | undefined {
  const {nowMs, task, run} = work;
  const isQuota = attempt.errorClass === 'exhausted';
  const cause = retryClass(attempt);
  const {retry, ask} = task.policy;
  if (!isQuota) {
    const retryOn = retry.retryOn ?? RETRY_CLASSES;
    if (cause === undefined || !retryOn.includes(cause) || end.isPermanent === true) return undefined;
    // A person approved one try, not two.
    if (ask !== 'off' || attempt.tryNo >= retry.maxAttempts) return undefined;
  } else if (isOverdue(task, work.attempt, nowMs)) return undefined;
  const delayMs = isQuota ? (end.waitMs ?? QUOTA_WAIT_MS) : retryDelayMs(retry, attempt.tryNo);
  const next = nextAttempt(run, nowMs, {
    strategy: isQuota ? attempt.strategy : cause === 'worker_lost' ? 'recovery' : 'retry',
    tryNo: attempt.tryNo + (isQuota ? 0 : 1),
    message: attempt.message,
    deferrals: isQuota ? attempt.deferrals + 1 : 0,
    notBeforeAt: nowMs + delayMs,
    place: delayMs > 0 ? 'delayed' : 'queued',
  });
  const {runId} = run;
  const {attemptId} = attempt;
  const data = {
    ...{attempt_no: next.attempt.attemptNo, try_no: next.attempt.tryNo, max_attempts: retry.maxAttempts},
    ...{delay_ms: delayMs, class: attempt.errorClass ?? '', code: end.error?.code ?? ''},
  };
  const wasLost = attempt.errorClass === 'worker_lost';
  const events: NewEvent[] = [
    ...(wasLost ? [{type: 'orphan_recovered', kind: 'lifecycle', runId, attemptId} as const] : []),
    {type: isQuota ? 'deferred' : 'retry_scheduled', kind: 'lifecycle', runId, attemptId, data},
    ...(attempt.waitingSinceAt === undefined && work.attempt.waitingSinceAt === undefined
      ? []
      : [{type: 'answers_not_replayed', kind: 'lifecycle', runId, attemptId} as const]),
  ];
  return {
    task: {...task, status: 'running'},
    runs: [{...next.run, status: 'running', interaction: working(next.run, nowMs, pendingOf(work))}],
    attempts: [attempt, next.attempt],
    events,
    snapshots: [snapshotOf(attempt, wasLost ? 'orphan_recovered' : 'retry_scheduled', attempt.status)],
  };
}

/** Where a quota is used up and nobody says for how long. */
const QUOTA_WAIT_MS = 60_000;
/** So long something is put off at most. */
const MAX_DEFERRAL_MS = 86_400_000;

export const isOverdue = (task: AgentTask, attempt: RunAttempt, nowMs: number): boolean =>
  nowMs >= (task.expiresAt ?? Math.max(task.notBeforeAt ?? 0, attempt.createdAt) + MAX_DEFERRAL_MS);

function retryClass({errorClass}: RunAttempt): RetryClass | undefined {
  if (errorClass === 'agent_error' || errorClass === 'not_delivered') return 'error';
  return errorClass === 'timeout' || errorClass === 'worker_lost' ? errorClass : undefined;
}

export const pendingOf = ({inputs}: Pick<Work, 'inputs'>): number =>
  inputs.filter(({state}) => state === 'buffered').length;

export const working = (run: AgentRun, nowMs: number, pendingCount: number): AgentRun['interaction'] => ({
  runId: run.runId,
  state: 'working',
  activeExecutionId: run.interaction.activeExecutionId,
  pendingCount,
  updatedAt: nowMs,
});

/** The run ends as its attempt did. */
export function runEnded(work: Begun, attempt: RunAttempt, end: End): Decision {
  const {nowMs, task, run} = work;
  const status: RunState =
    run.cancelRequestedAt !== undefined && end.status !== 'ok' ? 'cancelled' : end.status;
  const neverRan = run.startedAt === undefined && attempt.startedAt === undefined;
  const reason = status === 'ok' ? undefined : (end.error?.code ?? attempt.errorClass);
  const {runId} = run;
  const next: AgentRun = {
    ...run,
    status,
    statusReason: reason,
    endedAt: nowMs,
    interaction: {runId, state: 'closed', pendingCount: 0, updatedAt: nowMs},
    ...(end.text === undefined ? {} : {result: resultOf(end.text)}),
    ...(end.error === undefined || status === 'ok'
      ? {}
      : {error: {...end.error, class: attempt.errorClass ?? ''}}),
  };
  const isDropped = status === 'error' && neverRan && DROPS.has(reason ?? '');
  return {
    task: {...task, status: isDropped ? 'dropped' : taskStatus(task, status), statusReason: reason},
    runs: [next],
    attempts: [attempt],
    ...(end.isProven ? {leaves: runId} : {}),
    inputs: work.inputs
      .filter(({state}) => state === 'buffered')
      .map(input => ({...input, state: 'dropped', dropReason: 'run_ended'})),
    events: [
      {
        type: 'finished',
        kind: 'lifecycle',
        ...{runId, attemptId: attempt.attemptId},
        data: {
          status,
          ...(reason === undefined ? {} : {reason}),
          ...(end.isProven ? {} : {detail: 'previous_execution_still_running'}),
        },
      },
    ],
    snapshots: [snapshotOf(attempt, 'finished', status)],
  };
}

/** A task that never ran for one of these was dropped, not failed. */
export const DROPS: ReadonlySet<string> = new Set([
  'EXPIRED',
  'DISPATCH_RETRY_EXHAUSTED',
  'AGENT_TYPE_EXHAUSTED',
  'AGENT_TYPE_UNAVAILABLE',
  'AGENT_CIRCUIT_OPEN',
  'TENANT_QUOTA_EXCEEDED',
  'QUEUE_FULL',
  'POLICY_UNENFORCEABLE',
]);

function taskStatus({policy}: AgentTask, status: RunState): TaskState {
  if (status === 'ok') return policy.interactive ? 'idle' : 'done';
  return status === 'cancelled' ? 'cancelled' : 'error';
}

function resultOf(text: string): NonNullable<AgentRun['result']> {
  return {text: text.slice(0, MAX_RESULT_TEXT), truncated: text.length > MAX_RESULT_TEXT};
}

export const snapshotOf = (
  {runId, attemptId, startedAt, endedAt, error, errorClass}: RunAttempt,
  marker: NewSnapshot['marker'],
  status: string,
): NewSnapshot => ({
  ...{runId, attemptId, marker, status, startedAt, endedAt},
  ...(error === undefined ? {} : {error: {...error, class: errorClass ?? ''}}),
  ...(errorClass === 'worker_lost' ? {exitCode: -1} : {}),
});
