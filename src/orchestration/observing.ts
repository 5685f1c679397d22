/** From what by-framework shows of an execution to its attempt, its run and its task. Pure. */
import type {ExecutionRecord} from '../protocol/execution.js';
import type {Approval} from '../protocol/orchestration/approval.js';
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import type {AgentRun} from '../protocol/orchestration/run.js';
import {isFinalAttempt} from '../protocol/orchestration/states.js';
import {exhaustReasonOf} from '../protocol/orchestration/status.js';
import {canonicalStatus, isTerminal, isTerminalTolerant} from '../protocol/states.js';
import {decidedEvent, requestedEvent} from './approving.js';
import type {Decision, NewEvent, NewLog} from './decision.js';
import {ended, pendingOf, snapshotOf, type Begun, type End} from './ending.js';

/** What was seen of an execution. */
export interface Seen {
  readonly record: ExecutionRecord | undefined;
  /** Text of events after the attempt's cursor, and how far they were read. */
  readonly said: readonly {readonly text: string; readonly chunkType: string; readonly ts: number}[];
  readonly cursor: string;
  /** Calls of this attempt that a person is or was asked about, oldest first. */
  readonly approvals: readonly Approval[];
  /** The whole answer; known only once the record says that it has ended. */
  readonly answer: string | undefined;
}

/** Nobody has a record of what was sent so long ago. */
export const NOT_DELIVERED_MS = 120_000;

/** @returns undefined if nothing is new. */
export function observed(work: Begun, seen: Seen, jitter?: number): Decision | undefined {
  const {nowMs, attempt} = work;
  if (attempt.place !== 'inflight' || attempt.dispatchPhase === 'claimed') return undefined;
  const {record} = seen;
  if (record === undefined)
    return nowMs - attempt.phaseAt < NOT_DELIVERED_MS ? undefined : ended(work, NEVER_ARRIVED, jitter);
  const status = plainStatus(record.status);
  const heard = withWords(work, seen);
  if (isOver(status, seen))
    return also(ended(asBegun(work, record), endOf(attempt, record, status, seen.answer), jitter), heard);
  if (isFinalAttempt(attempt.status)) return undefined;
  if (status === 'WAITING_USER') return waits(heard, record, 'waiting_for_input');
  const pending = seen.approvals.filter(({state}) => state === 'pending');
  if (pending.length > 0) return waits(heard, record, 'waiting_for_approval', pending.map(requestedEvent));
  if (status === 'QUEUED' && attempt.status === 'pending') return heard.changed;
  return runs(heard, record, seen.approvals.at(-1));
}

/** What ended before anybody saw it run has run all the same, for as long as its worker says. */
function asBegun(work: Begun, {workerId, startedAt, finishedAt}: ExecutionRecord): Begun {
  const {attempt, run, nowMs} = work;
  if (attempt.startedAt !== undefined || workerId === '' || startedAt === 0) return work;
  const began = nowMs - Math.max(0, finishedAt - startedAt);
  return {
    ...work,
    run: {...run, startedAt: run.startedAt ?? began},
    attempt: {...attempt, workerId, startedAt: began, dispatchPhase: 'seen'},
  };
}

const NEVER_ARRIVED: End = {
  status: 'error',
  errorClass: 'not_delivered',
  error: {code: 'NOT_DELIVERED', message: 'Nothing is known of its execution any more.'},
  isProven: true,
};

/** `FAILED: reason` is FAILED; other SDKs write any case. */
const plainStatus = (status: string): string => canonicalStatus(status.split(':')[0] ?? '');

/** A final status in small letters is one only beside a final answer: the framework itself does not take it for one. */
const isOver = (status: string, {answer, record}: Seen): boolean =>
  isTerminal(status) && (isTerminal(record?.status.split(':')[0] ?? '') || answer !== undefined)
    ? true
    : isTerminalTolerant(status) && answer !== undefined;

interface Heard {
  readonly work: Begun;
  /** The attempt with its cursor moved on. */
  readonly attempt: RunAttempt;
  readonly logs: readonly NewLog[];
  /** Undefined if nothing was said. */
  readonly changed: Decision | undefined;
}

function withWords(work: Begun, {said, cursor}: Seen): Heard {
  const {attemptId, runId} = work.attempt;
  const attempt = {...work.attempt, logCursor: cursor};
  const logs = said.map(({text, chunkType, ts}) => ({
    ...{runId, attemptId, chunkType, ts},
    stream: 'agent' as const,
    data: text,
  }));
  const isNew = cursor !== work.attempt.logCursor;
  return {work, attempt, logs, changed: isNew ? {task: work.task, attempts: [attempt], logs} : undefined};
}

/** The words belong to the attempt that ends. */
function also(decision: Decision, {attempt: {attemptId, logCursor}, logs}: Heard): Decision {
  return {
    ...decision,
    attempts: decision.attempts?.map(one => (one.attemptId === attemptId ? {...one, logCursor} : one)) ?? [],
    logs: [...logs, ...(decision.logs ?? [])],
  };
}

function began(attempt: RunAttempt, record: ExecutionRecord, nowMs: number, timeoutMs: number): RunAttempt {
  if (attempt.status === 'running') return {...attempt, workerId: record.workerId || attempt.workerId};
  return {
    ...attempt,
    ...{status: 'running', dispatchPhase: 'seen', phaseAt: nowMs, startedAt: nowMs},
    workerId: record.workerId || undefined,
    ...(timeoutMs > 0 ? {deadlineAt: nowMs + timeoutMs} : {}),
  };
}

function runs(
  {work, attempt: heard, logs, changed}: Heard,
  record: ExecutionRecord,
  lastApproval: Approval | undefined,
): Decision | undefined {
  const {nowMs, task, run} = work;
  const {waitingSinceAt} = heard;
  const isFirst = heard.status !== 'running';
  const hasMoved = record.workerId !== '' && record.workerId !== heard.workerId;
  if (!isFirst && waitingSinceAt === undefined && !hasMoved) return changed;
  let attempt = began(heard, record, nowMs, task.timeoutMs);
  // Its time stood still while it waited.
  if (waitingSinceAt !== undefined)
    attempt = {
      ...attempt,
      waitingSinceAt: undefined,
      ...(attempt.deadlineAt === undefined ? {} : {deadlineAt: attempt.deadlineAt + nowMs - waitingSinceAt}),
    };
  const answer = () =>
    run.interaction.state === 'waiting_for_approval' && lastApproval !== undefined
      ? decidedEvent(lastApproval)
      : {...runningEvent(attempt, record), type: 'answered' as const};
  return {
    task: {...task, status: 'running'},
    runs: [
      {
        ...run,
        status: 'running',
        startedAt: run.startedAt ?? nowMs,
        interaction: interaction(work, 'working'),
      },
    ],
    attempts: [attempt],
    logs,
    events: [
      ...(isFirst || hasMoved ? [runningEvent(attempt, record)] : []),
      ...(waitingSinceAt === undefined ? [] : [answer()]),
    ],
    snapshots: isFirst ? [snapshotOf(attempt, 'started', 'running')] : [],
  };
}

function waits(
  {work, attempt: heard, logs, changed}: Heard,
  record: ExecutionRecord,
  state: 'waiting_for_input' | 'waiting_for_approval',
  asked?: readonly NewEvent[],
): Decision | undefined {
  const {nowMs, task, run} = work;
  if (heard.waitingSinceAt !== undefined && run.interaction.state === state) return changed;
  const isFirst = heard.status !== 'running';
  const {runId} = run;
  const attempt = {
    ...began(heard, record, nowMs, task.timeoutMs),
    waitingSinceAt: heard.waitingSinceAt ?? nowMs,
  };
  const {attemptId} = attempt;
  return {
    task: {...task, status: 'waiting'},
    runs: [
      {
        ...run,
        status: 'running',
        startedAt: run.startedAt ?? nowMs,
        interaction: interaction(work, state),
      },
    ],
    attempts: [attempt],
    logs,
    events: [
      ...(isFirst ? [runningEvent(attempt, record)] : []),
      ...(asked ?? [{type: 'waiting_for_input', kind: 'lifecycle', runId, attemptId} as const]),
    ],
    snapshots: isFirst ? [snapshotOf(attempt, 'started', 'running')] : [],
  };
}

const runningEvent = ({runId, attemptId}: RunAttempt, {workerId}: ExecutionRecord): NewEvent => ({
  ...{type: 'running', kind: 'lifecycle', runId, attemptId},
  data: {worker_id: workerId},
});

const interaction = (work: Begun, state: AgentRun['interaction']['state']): AgentRun['interaction'] => ({
  ...{runId: work.run.runId, state, activeExecutionId: work.attempt.executionId},
  ...{pendingCount: pendingOf(work), updatedAt: work.nowMs},
});

function endOf(
  {stopClass}: RunAttempt,
  record: ExecutionRecord,
  status: string,
  answer: string | undefined,
): End {
  const code = record.errorCode ?? '';
  const message = record.errorMessage ?? record.cancelReason ?? '';
  const text = answer === undefined ? {} : {text: answer};
  const upper = status.toUpperCase();
  // Whoever finishes before it is stopped has finished.
  if (upper === 'COMPLETED' || upper === 'SUCCESS') return {status: 'ok', isProven: true, ...text};
  const isPermanent = record.retryable === false || REFUSED.has(code);
  switch (stopClass) {
    case 'timeout':
      return {...TIMED_OUT, isProven: true};
    case 'worker_lost':
      return {...WORKER_LOST, isProven: true};
    case 'superseded':
      return {
        ...{status: 'cancelled', errorClass: 'superseded', isProven: true},
        error: {code: 'SUPERSEDED', message: 'Another input took its place.'},
      };
    case 'cancelled':
      return {...CANCELLED, error: {code: 'CANCELLED', message}, isProven: true};
    case undefined:
  }
  if (upper === 'CANCELLED') return {...CANCELLED, error: {code: 'CANCELLED', message}, isProven: true};
  if (code === 'DEADLINE_EXCEEDED')
    return {status: 'timeout', errorClass: 'timeout', error: {code, message}, isProven: true};
  const errorClass = exhaustReasonOf(code) === undefined ? 'agent_error' : 'exhausted';
  return {
    status: 'error',
    errorClass,
    error: {code: code || 'AGENT_ERROR', message},
    isPermanent,
    isProven: true,
    ...text,
  };
}

/** The policy of the run refuses it, or a person has: the next try would meet the same. */
const REFUSED: ReadonlySet<string> = new Set(['TOOL_DENIED', 'APPROVAL_DENIED']);

const CANCELLED = {status: 'cancelled', errorClass: 'cancelled'} as const;

export const TIMED_OUT = {
  status: 'timeout',
  errorClass: 'timeout',
  error: {code: 'TIMEOUT', message: 'The attempt took longer than it may.'},
} as const;

export const WORKER_LOST = {
  status: 'error',
  errorClass: 'worker_lost',
  error: {code: 'WORKER_LOST', message: 'Its worker is gone.'},
} as const;
