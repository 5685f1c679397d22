/** What becomes of a message to a run: decided by its mode and by how the run stands. Pure. */
import {ByError} from '../errors.js';
import {newOrchestrationId} from '../protocol/orchestration/ids.js';
import type {InputOutcome, Overflow, PendingInput} from '../protocol/orchestration/input.js';
import {isFinalRun, type AgentQueueMode} from '../protocol/orchestration/states.js';
import type {Work} from '../store/orchestration.js';
import {newRun, nextAttempt} from './begin.js';
import type {Decision, NewEvent} from './decision.js';
import {ended, isBegun, pendingOf, type Begun} from './ending.js';
import {newPool} from './pools.js';
import {stopping} from './watching.js';

export interface NewInput {
  readonly inputId: string;
  readonly mode: AgentQueueMode;
  readonly message: string;
  readonly idempotencyKey: string;
  readonly provenance?: Readonly<Record<string, unknown>>;
  readonly routing?: Readonly<Record<string, unknown>>;
  /** Of an interrupt: what was buffered before is dropped. */
  readonly discardBuffered?: boolean;
  /** Of what is collected, where twenty wait already. Default drop_old. */
  readonly overflow?: Overflow;
  readonly summary?: Summary;
}

/** One message in the place of several. */
export interface Summary {
  readonly inputId: string;
  readonly message: string;
  /** Ids of the inputs it is made of. */
  readonly of: readonly string[];
}

export type InputStep =
  /** It is the answer the run waits for. */
  | {readonly kind: 'answer'; readonly work: Begun}
  /** It becomes a task of its own, behind those that wait. */
  | {readonly kind: 'task'}
  /** It can be written once there is a summary of these. */
  | {readonly kind: 'summarise'; readonly inputs: readonly PendingInput[]; readonly work: Begun}
  | {
      readonly kind: 'write';
      readonly decision: Decision;
      readonly outcome: InputOutcome;
      readonly downgraded?: 'steer_unsupported';
      /** It is to be put where the running agent takes it from. */
      readonly steers?: PendingInput;
      /** What runs is to be stopped for it. */
      readonly stops?: true;
    };

/**
 * @param mayAnswer false: what it could have answered was answered by somebody else.
 * @param listens the running agent takes messages while it works.
 * @throws {ByError} TASK_ARCHIVED, TASK_FINAL, SESSION_BUSY, QUEUE_FULL.
 */
export function inputStep(work: Work, input: NewInput, mayAnswer = true, listens = false): InputStep {
  const {task, run} = work;
  if (task.archivedAt !== undefined)
    throw new ByError('TASK_ARCHIVED', `Task ${task.taskId} was archived.`, {hint: 'Submit a new one.'});
  if (task.status === 'dropped')
    throw new ByError('TASK_FINAL', `Task ${task.taskId} was dropped before it began.`, {
      hint: 'Submit it again.',
    });
  if (run === undefined || isFinalRun(run.status) || !isBegun(work))
    return {kind: 'write', decision: restarted(work, input), outcome: 'restarted'};
  const isWaiting = run.interaction.state === 'waiting_for_input';
  if (input.mode === 'reject' && !isWaiting)
    throw new ByError('SESSION_BUSY', `Run ${run.runId} is at work.`, {
      hint: 'Try later, or with --mode followup.',
      details: {runId: run.runId},
    });
  if (input.mode === 'interrupt') return interrupt(work, input);
  if (isWaiting && mayAnswer) return {kind: 'answer', work};
  if (input.mode === 'queue') return {kind: 'task'};
  return buffer(work, input, listens);
}

/** A message to what has ended takes it up again: a new run in the same session. */
function restarted(work: Work, input: NewInput): Decision {
  const {nowMs, task, pool} = work;
  const fresh = newRun(task, nowMs, {resumeSession: true, resumeOfRunId: work.run?.runId});
  const {run, attempt} = nextAttempt(fresh, nowMs, {strategy: 'input', tryNo: 1, message: input.message});
  const {runId} = run;
  return {
    task: {
      ...task,
      ...{status: 'queued', statusReason: undefined, currentRunId: runId, runCount: task.runCount + 1},
    },
    runs: [run],
    attempts: [attempt],
    joins: runId,
    ...(pool === undefined ? {pool: newPool(task, undefined, nowMs)} : {}),
    inputs: [pending(input, runId, nowMs, 'delivered')],
    events: [{type: 'accepted', kind: 'lifecycle', runId, data: {resume_of_run_id: work.run?.runId ?? ''}}],
    logs: [{runId, stream: 'user', data: input.message, chunkType: 'input'}],
  };
}

function interrupt(work: Begun, input: NewInput): InputStep {
  const {nowMs, attempt, run} = work;
  const dropped: PendingInput[] = input.discardBuffered
    ? work.inputs
        .filter(({state}) => state === 'buffered')
        .map(one => ({...one, state: 'dropped', dropReason: 'discarded_by_interrupt'}))
    : [];
  const mine = pending(input, run.runId, nowMs);
  const left = work.inputs.map(one => dropped.find(({inputId}) => inputId === one.inputId) ?? one);
  const event = inputEvent('input_buffered', work, input);
  if (attempt.place !== 'inflight') {
    // Nothing runs: the message takes the place of the attempt at once.
    const over = ended({...work, inputs: [...left, mine]}, SUPERSEDED);
    const inputs = [...dropped, ...(over.inputs ?? [])];
    return {
      kind: 'write',
      outcome: 'interrupted',
      decision: {...over, inputs, events: [event, ...(over.events ?? [])]},
    };
  }
  const {decision} = stopping(work, 'graceful', 'superseded');
  return {
    kind: 'write',
    outcome: 'interrupted',
    stops: true,
    decision: {...decision, runs: [counted(work, left, mine)], inputs: [...dropped, mine], events: [event]},
  };
}

export const SUPERSEDED = {
  status: 'cancelled',
  errorClass: 'superseded',
  error: {code: 'SUPERSEDED', message: 'Another input took its place.'},
  isProven: true,
} as const;

/** How long what is collected waits for more, in milliseconds, and how much is kept. */
const QUIET_MS = 500;
const COLLECTED = 20;

function buffer(work: Begun, input: NewInput, listens: boolean): InputStep {
  const {nowMs, run} = work;
  const isSteer = input.mode === 'steer' && !listens;
  const steers = input.mode === 'steer' && listens;
  const isCollect = input.mode === 'collect';
  const mine: PendingInput = {
    ...pending(isSteer || input.mode === 'reject' ? {...input, mode: 'followup'} : input, run.runId, nowMs),
    ...(isCollect ? {notBeforeAt: nowMs + QUIET_MS} : {}),
  };
  const collected = work.inputs.filter(({state, mode}) => state === 'buffered' && mode === 'collect');
  const isFull = isCollect && collected.length >= COLLECTED;
  if (isFull && input.overflow === 'drop_new')
    throw new ByError('QUEUE_FULL', `${COLLECTED} messages wait for the next turn of ${run.runId} already.`, {
      hint: 'Try again when it has begun, or let the oldest be dropped.',
      details: {runId: run.runId},
    });
  if (isFull && input.overflow === 'summarize') return summarised(work, input, collected, mine);
  const [oldest] = collected;
  const overflow: PendingInput[] =
    isFull && oldest !== undefined ? [{...oldest, state: 'dropped', dropReason: 'collect_overflow'}] : [];
  const left = work.inputs.filter(({inputId}) => overflow.every(one => one.inputId !== inputId));
  return {
    kind: 'write',
    outcome: 'queued',
    ...(isSteer ? {downgraded: 'steer_unsupported'} : {}),
    ...(steers ? {steers: mine} : {}),
    decision: {
      task: work.task,
      runs: [counted(work, left, mine)],
      inputs: [...overflow, mine],
      events: [
        inputEvent('input_buffered', work, input),
        ...(isSteer ? [inputEvent('steer_downgraded', work, input)] : []),
      ],
    },
  };
}

/** The summary stands for all that was collected; what it is made of is kept as merged. */
function summarised(
  work: Begun,
  input: NewInput,
  collected: readonly PendingInput[],
  mine: PendingInput,
): InputStep {
  const {nowMs, task, run, attempt} = work;
  const {summary} = input;
  const ids = collected.map(({inputId}) => inputId);
  // What was collected since, or has gone with a turn, makes another summary.
  if (summary === undefined || ids.join() !== summary.of.join())
    return {kind: 'summarise', inputs: collected, work};
  const {inputId, message} = summary;
  const whole: PendingInput = {
    ...{inputId, runId: run.runId, message, mode: 'collect', idempotencyKey: inputId},
    ...{createdAt: nowMs, state: 'buffered'},
  };
  const left = work.inputs.filter(one => !ids.includes(one.inputId));
  return {
    kind: 'write',
    outcome: 'queued',
    decision: {
      task,
      runs: [counted(work, [...left, whole], mine)],
      inputs: [...collected.map(one => ({...one, state: 'merged'}) as const), whole, mine],
      events: [
        {
          ...({type: 'input_summarized', kind: 'input', runId: run.runId} as const),
          attemptId: attempt.attemptId,
          data: {input_id: inputId, input_ids: ids},
        },
        inputEvent('input_buffered', work, input),
      ],
    },
  };
}

/** The answer was given: the run goes on with it. */
export function answered(work: Begun, input: NewInput): Decision {
  const {nowMs, task, run, attempt} = work;
  const {runId} = run;
  const {attemptId} = attempt;
  return {
    task,
    inputs: [pending(input, runId, nowMs, 'delivered')],
    events: [inputEvent('input_direct', work, input)],
    logs: [{runId, attemptId, stream: 'user', data: input.message, chunkType: 'answer'}],
  };
}

/** The agent has taken what was said to it while it worked. */
export function steered(work: Begun, inputIds: readonly string[]): Decision {
  const {task, run, attempt, inputs} = work;
  const {runId} = run;
  const {attemptId} = attempt;
  const taken = inputs.filter(({inputId}) => inputIds.includes(inputId));
  const delivered = taken.map(input => ({...input, state: 'delivered'}) as const);
  const left = inputs.filter(({inputId}) => !inputIds.includes(inputId));
  return {
    task,
    runs: [{...run, interaction: {...run.interaction, pendingCount: pendingOf({inputs: left})}}],
    inputs: delivered,
    events: taken.map(({inputId, mode}) => ({
      ...({type: 'input_steered', kind: 'input', runId, attemptId} as const),
      data: {input_id: inputId, mode},
    })),
    logs: taken.map(({message}) => ({runId, attemptId, stream: 'user', data: message, chunkType: 'input'})),
  };
}

/** An interrupt whose drain took too long: it goes with the next turn. Undefined if it is under way by now. */
export function demoted(work: Work, inputId: string): Decision | undefined {
  const mine = work.inputs.find(input => input.inputId === inputId);
  if (mine?.state !== 'buffered') return undefined;
  return {task: work.task, inputs: [{...mine, mode: 'followup'}]};
}

/** Go on without the proof that the old attempt has stopped. Undefined if nothing is in the way. */
export function overlapped(work: Work): Decision | undefined {
  if (!isBegun(work) || work.attempt.place !== 'inflight' || work.attempt.stopClass !== 'superseded')
    return undefined;
  const over = ended(work, SUPERSEDED);
  const {runId, attemptId} = work.attempt;
  const event: NewEvent = {type: 'overlap_accepted', kind: 'control', runId, attemptId};
  return {...over, events: [event, ...(over.events ?? [])]};
}

const pending = (
  {inputId, mode, message, idempotencyKey, provenance, routing}: NewInput,
  runId: string,
  createdAt: number,
  state: PendingInput['state'] = 'buffered',
): PendingInput => ({inputId, runId, message, mode, idempotencyKey, provenance, routing, createdAt, state});

const counted = (work: Begun, inputs: readonly PendingInput[], mine: PendingInput): Begun['run'] => ({
  ...work.run,
  interaction: {...work.run.interaction, pendingCount: pendingOf({inputs: [...inputs, mine]})},
});

const inputEvent = (type: NewEvent['type'], {run, attempt}: Begun, {inputId, mode}: NewInput): NewEvent => ({
  ...{type, kind: 'input', runId: run.runId, attemptId: attempt.attemptId},
  data: {input_id: inputId, mode},
});

export const newInputId = (): string => newOrchestrationId('input');
