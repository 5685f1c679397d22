/** Accepting a message to a run: answered, buffered, or in the place of what runs. */
import {setTimeout as wait} from 'node:timers/promises';
import {reply} from '../availability/reply.js';
import {ByError} from '../errors.js';
import {IDEMPOTENCY_TTL_S} from '../protocol/orchestration/retention.js';
import type {InputOutcome, Overflow} from '../protocol/orchestration/input.js';
import type {AgentQueueMode} from '../protocol/orchestration/states.js';
import {MAX_MESSAGE, type AgentTask} from '../protocol/orchestration/task.js';
import {isListening, steer} from '../store/steering.js';
import {Change, commit, lookAt, type Work, type Workspace} from '../store/orchestration.js';
import {decideOn} from './decide.js';
import type {OrchestratorDeps} from './deps.js';
import {isBegun} from './ending.js';
import {notFound} from './find.js';
import {inputKey, knownInput, recordOf, type Answering} from './known-inputs.js';
import {lookAtRun} from './read.js';
import {
  answered,
  demoted,
  inputStep,
  newInputId,
  overlapped,
  type InputStep,
  type NewInput,
} from './inputs.js';
import {stopAttempt} from './stop-attempt.js';
import {noSummariser, summaryOf} from './summary.js';
import {acceptTask, digest} from './submit.js';
import {toChange} from './to-change.js';

export interface InputRequest {
  readonly message: string;
  /** Default followup. */
  readonly mode?: AgentQueueMode;
  readonly idempotencyKey?: string;
  readonly provenance?: Readonly<Record<string, unknown>>;
  readonly routing?: Readonly<Record<string, unknown>>;
  /** Of what is collected, where twenty wait already. Default drop_old. */
  readonly overflow?: Overflow;
  /** Of an interrupt: drop what was buffered before. */
  readonly discardBuffered?: boolean;
  /** Of an interrupt: go on after so many milliseconds though what runs has not stopped. Default: never. */
  readonly forceAfterMs?: number;
  readonly signal?: AbortSignal;
}

export interface RunInputResult {
  readonly task: AgentTask;
  readonly runId: string;
  readonly idempotentHit: boolean;
  readonly outcome: InputOutcome;
  /** No worker could take it into the running turn. */
  readonly downgraded?: 'steer_unsupported';
  /** The running agent takes it at its next `ctx.steered()`; if it does not, it goes with the next turn. */
  readonly delivery?: 'steer';
  readonly inputId: string;
}

/** The command that became input because its session was at work: whoever repeats it is told of the input. */
export interface Origin {
  /** Its idempotency key in Redis, and what is kept there. */
  readonly key: string;
  readonly record: (task: AgentTask) => string;
}

/**
 * @throws {ByError} RUN_NOT_FOUND, INVALID_INPUT, TASK_ARCHIVED, TASK_FINAL, SESSION_BUSY, IDEMPOTENCY_CONFLICT,
 *   INTERRUPT_DRAIN_TIMEOUT (the message is kept, and goes with the next turn), QUEUE_FULL, and what the summariser throws.
 */
export async function acceptRunInput(
  deps: OrchestratorDeps,
  runId: string,
  request: InputRequest,
  origin?: Origin,
): Promise<RunInputResult> {
  const {workspace} = deps;
  if (request.overflow === 'summarize' && deps.summarise === undefined) throw noSummariser();
  /** Its place is before the message that needs it. */
  const summaryId = newInputId();
  let fresh = newInput(request);
  const {idempotencyKey} = request;
  const key = idempotencyKey === undefined ? undefined : inputKey(workspace, runId, idempotencyKey);
  /** The run whose question is answered: whatever became of it since, that only remains to be noted there. */
  let answeredRun: string | undefined;
  /** The attempt that takes no answer of ours any more. */
  let late: string | undefined;
  for (let attempt = 0; ; attempt++) {
    const known = key === undefined ? undefined : await knownInput(workspace, key, fresh);
    const input = known === undefined ? fresh : {...fresh, inputId: known.inputId};
    const isRepeat = input.inputId !== fresh.inputId;
    const work = await (answeredRun === undefined
      ? current(workspace, runId)
      : lookAtRun(workspace, answeredRun));
    if (known !== undefined && known.answers === undefined) {
      const {text: _text, ...result} = known;
      return {task: work.task, ...result, idempotentHit: isRepeat};
    }
    const begun = known?.answers;
    if (answeredRun === undefined && begun !== undefined && begun.attemptId !== late) {
      if (await answer(deps, work, input, begun, {key, text: known?.text ?? '', origin}))
        answeredRun = known?.runId ?? runId;
      else late = begun.attemptId;
      continue;
    }
    const step: InputStep =
      answeredRun === undefined
        ? inputStep(
            work,
            input,
            work.attempt?.attemptId !== late,
            await listens(workspace, work, request.mode),
          )
        : noted(work, input);
    if (step.kind === 'summarise') {
      fresh = {...fresh, summary: await summaryOf(deps, step, summaryId, request.signal)};
      continue;
    }
    if (step.kind === 'task') return asTask(workspace, work, request, input.inputId);
    // Nobody can repeat what has no key.
    if (step.kind === 'answer' && key === undefined) {
      const {attempt: asking, run} = step.work;
      if (await answer(deps, work, input, asking)) answeredRun = run.runId;
      else late = asking.attemptId;
      continue;
    }
    const run = runOf(work, step) ?? runId;
    const record = {key, was: known?.text ?? '', is: recordOf(input, run, step), origin};
    if (!(await commit(workspace, changeOf(workspace, work, step, record)))) {
      await wait(Math.random() * 2 * attempt);
      continue;
    }
    // What is to be answered is answered at the next look.
    if (step.kind === 'answer') continue;
    const {downgraded, steers, stops, outcome, decision} = step;
    if (stops) await drain(deps, work, input, request);
    return {
      ...{task: decision.task, runId: run, idempotentHit: isRepeat, outcome, inputId: input.inputId},
      ...(downgraded ? {downgraded} : {}),
      ...(steers ? {delivery: 'steer' as const} : {}),
    };
  }
}

type Writing = Extract<InputStep, {kind: 'answer' | 'write'}>;

/** The run a message has gone to. */
const runOf = ({run}: Work, step: Writing): string | undefined =>
  step.kind === 'write' && step.outcome === 'restarted' ? step.decision.task.currentRunId : run?.runId;

/** All that a step writes: what becomes of the message, or that it is going to be an answer. */
function changeOf(
  workspace: Workspace,
  work: Work,
  step: Writing,
  {
    key,
    was,
    is,
    origin,
  }: {
    readonly key: string | undefined;
    /** What stands under the key, '' for nothing, and what is to. */
    readonly was: string;
    readonly is: string;
    readonly origin: Origin | undefined;
  },
): Change {
  const change = toChange(workspace, work, step.kind === 'write' ? step.decision : {task: work.task});
  if (key !== undefined) change.unlessOther(key, was).write('SET', key, is, 'EX', IDEMPOTENCY_TTL_S);
  if (origin !== undefined)
    change.write('SET', origin.key, origin.record(work.task), 'EX', IDEMPOTENCY_TTL_S);
  if (step.kind === 'write' && step.steers !== undefined)
    steer(change, workspace, work.attempt?.attemptId ?? '', step.steers);
  return change;
}

/** @throws {ByError} INVALID_INPUT */
function newInput({message, mode = 'followup', idempotencyKey, ...more}: InputRequest): NewInput {
  if (message.trim() === '' || message.length > MAX_MESSAGE)
    throw new ByError(
      'INVALID_INPUT',
      message.trim() === '' ? 'The message is empty.' : 'The message is too long.',
      {
        hint: `Say something, in at most ${MAX_MESSAGE.toLocaleString('en')} characters.`,
      },
    );
  const inputId = newInputId();
  const {provenance, routing, discardBuffered, overflow} = more;
  return {
    ...{inputId, mode, message, idempotencyKey: idempotencyKey ?? inputId},
    ...{provenance, routing, discardBuffered},
    ...(overflow === undefined ? {} : {overflow}),
  };
}

/** Whether the agent that runs now takes messages; asked for those that are to reach it. */
const listens = async (
  workspace: Workspace,
  {attempt}: Work,
  mode: AgentQueueMode | undefined,
): Promise<boolean> =>
  mode === 'steer' && attempt?.status === 'running' && isListening(workspace, attempt.attemptId);

/** The run, or the one that has taken its place. */
async function current(workspace: Workspace, runId: string): Promise<Work> {
  const work = await lookAt(workspace, 'run', runId);
  if (work?.run === undefined) throw notFound('run', runId);
  if (work.task.currentRunId === runId) return work;
  return (await lookAt(workspace, 'task', work.task.taskId)) ?? work;
}

/** What is written down of an answer before it is given. */
interface Begun {
  readonly key: string | undefined;
  readonly text: string;
  readonly origin: Origin | undefined;
}

/**
 * Answer what an attempt asks; whoever does it again with the same input does nothing.
 * @returns false if the attempt takes no answer any more.
 */
async function answer(
  {workspace, now}: OrchestratorDeps,
  {task}: Work,
  {message, idempotencyKey}: NewInput,
  {attemptId, executionId}: Answering,
  begun?: Begun,
): Promise<boolean> {
  try {
    await reply(workspace.store, now, {
      // The run was seen to ask a question; an approval may wait by now.
      ...{sessionId: task.sessionId, executionId, content: message, mayDecide: false},
      replyId: `reply-${digest(attemptId, idempotencyKey)}`,
    });
    return true;
  } catch (error) {
    if (!(error instanceof ByError)) throw error;
    if (LATE.has(error.code)) return false;
    // It is refused for what it says: the key is free for another.
    if (begun?.key !== undefined && !error.retryable) await withdraw(workspace, task, begun.key, begun);
    throw error;
  }
}

async function withdraw(
  workspace: Workspace,
  {taskId}: AgentTask,
  key: string,
  {text, origin}: Begun,
): Promise<void> {
  const change = new Change(workspace.keys.orchTask(workspace.name, taskId));
  change.unlessOther(key, text).write('DEL', key);
  if (origin !== undefined) change.write('DEL', origin.key);
  await commit(workspace, change);
}

const noted = (work: Work, input: NewInput): Extract<InputStep, {kind: 'write'}> => ({
  ...{kind: 'write', outcome: 'direct'},
  decision: isBegun(work) ? answered(work, input) : {task: work.task},
});

const LATE: ReadonlySet<string> = new Set([
  'ALREADY_ANSWERED',
  'ANSWER_TOO_LATE',
  'NOT_WAITING',
  'NOT_FOUND',
]);

/** A task of its own in the same session, with everything the first one had. */
async function asTask(
  workspace: Workspace,
  {task: first}: Work,
  {message, idempotencyKey}: InputRequest,
  inputId: string,
): Promise<RunInputResult> {
  const {agentId, agentType, sessionId, lane, policy, priority, timeoutMs, routePolicy, slotType} = first;
  const {task, runId, idempotentHit} = await acceptTask(workspace, {
    ...(agentId === undefined ? {agentType} : {agentId}),
    ...{message, sessionId, policy, priority, timeoutMs, routePolicy, slotType, queueMode: 'queue'},
    ...(lane === undefined ? {} : {lane}),
    ...(idempotencyKey === undefined ? {} : {idempotencyKey}),
  });
  return {task, runId, idempotentHit, outcome: 'queued', inputId};
}

const LOOK_EVERY_MS = 100;

/** Wait until what runs has stopped and the message has taken its place. */
async function drain(
  deps: OrchestratorDeps,
  work: Work,
  {inputId}: NewInput,
  {forceAfterMs, signal}: InputRequest,
): Promise<void> {
  const {workspace, times} = deps;
  const runId = work.run?.runId ?? '';
  if (isBegun(work))
    await stopAttempt(deps, work.task.sessionId, {...work.attempt, stopClass: 'superseded'}, 'graceful');
  const from = performance.now();
  // Once for asking, once for force, and a little for whoever looks.
  const giveUpMs = 2 * times.stopGraceMs + 2 * times.sweepEveryMs;
  for (;;) {
    const seen = await lookAt(workspace, 'run', runId);
    const mine = seen?.inputs.find(input => input.inputId === inputId);
    if (seen === undefined || mine?.state !== 'buffered') return;
    const waited = performance.now() - from;
    if (forceAfterMs !== undefined && waited >= forceAfterMs)
      await decideOn(workspace, 'run', runId, one => {
        const decision = overlapped(one);
        return decision && {decision};
      });
    else if (waited >= giveUpMs || signal?.aborted) break;
    await wait(LOOK_EVERY_MS);
  }
  await decideOn(workspace, 'run', runId, one => {
    const decision = demoted(one, inputId);
    return decision && {decision};
  });
  throw new ByError(
    'INTERRUPT_DRAIN_TIMEOUT',
    `What runs in ${runId} has not stopped; the message goes with the next turn.`,
    {
      hint: 'Wait for it, or do not wait for the proof: --force-after.',
      details: {runId, inputId},
    },
  );
}
