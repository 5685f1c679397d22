/** Accepting a message to a run: answered, buffered, or in the place of what runs. */
import {setTimeout as wait} from 'node:timers/promises';
import {reply} from '../availability/reply.js';
import {ByError} from '../errors.js';
import {IDEMPOTENCY_TTL_S} from '../protocol/orchestration/retention.js';
import type {InputOutcome} from '../protocol/orchestration/input.js';
import type {AgentQueueMode} from '../protocol/orchestration/states.js';
import {MAX_MESSAGE, type AgentTask} from '../protocol/orchestration/task.js';
import {readText} from '../store/orchestration-lists.js';
import {isListening, steer} from '../store/steering.js';
import {commit, lookAt, type Change, type Work, type Workspace} from '../store/orchestration.js';
import {decideOn} from './decide.js';
import type {OrchestratorDeps} from './deps.js';
import {isBegun} from './ending.js';
import {notFound} from './find.js';
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
import {acceptTask, digest} from './submit.js';
import {toChange} from './to-change.js';

export interface InputRequest {
  readonly message: string;
  /** Default followup. */
  readonly mode?: AgentQueueMode;
  readonly idempotencyKey?: string;
  readonly provenance?: Readonly<Record<string, unknown>>;
  readonly routing?: Readonly<Record<string, unknown>>;
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

/**
 * @throws {ByError} RUN_NOT_FOUND, INVALID_INPUT, TASK_ARCHIVED, TASK_FINAL, SESSION_BUSY, IDEMPOTENCY_CONFLICT,
 *   INTERRUPT_DRAIN_TIMEOUT (the message is kept, and goes with the next turn).
 */
export async function acceptRunInput(
  deps: OrchestratorDeps,
  runId: string,
  request: InputRequest,
  more?: (change: Change, task: AgentTask) => void,
): Promise<RunInputResult> {
  const {workspace} = deps;
  const {message, mode = 'followup', idempotencyKey} = request;
  if (message.trim() === '' || message.length > MAX_MESSAGE)
    throw new ByError(
      'INVALID_INPUT',
      message.trim() === '' ? 'The message is empty.' : 'The message is too long.',
      {
        hint: `Say something, in at most ${MAX_MESSAGE.toLocaleString('en')} characters.`,
      },
    );
  const inputId = newInputId();
  const input: NewInput = {
    ...{inputId, mode, message, idempotencyKey: idempotencyKey ?? inputId},
    ...{provenance: request.provenance, routing: request.routing, discardBuffered: request.discardBuffered},
  };
  const remembered =
    idempotencyKey === undefined ? undefined : idempotencyOf(workspace, runId, idempotencyKey);
  let isAnswered = false;
  for (let attempt = 0; ; attempt++) {
    const known = remembered === undefined ? undefined : await earlierInput(workspace, remembered, input);
    // The answer is given: whatever became of the run since, it only remains to be noted there.
    const work: Work = await (isAnswered ? lookAtRun(workspace, runId) : current(workspace, runId));
    if (known !== undefined) return {task: work.task, ...known, idempotentHit: known.inputId !== inputId};
    const step: Written | {readonly kind: 'task'} = isAnswered
      ? noted(work, input)
      : await answerFirst(
          deps,
          work,
          input,
          inputStep(work, input, true, await listens(workspace, work, mode)),
        );
    if (step.kind === 'task') return asTask(workspace, work, request, inputId);
    const {decision, downgraded} = step;
    const outcome: InputOutcome = step.outcome;
    isAnswered = outcome === 'direct';
    const run = outcome === 'restarted' ? (decision.task.currentRunId ?? runId) : (work.run?.runId ?? runId);
    const change = toChange(workspace, work, decision);
    if (remembered !== undefined)
      change
        .unlessThere(remembered)
        .write('SET', remembered, recorded(input, run, outcome, downgraded), 'EX', IDEMPOTENCY_TTL_S);
    if (step.steers !== undefined) steer(change, workspace, work.attempt?.attemptId ?? '', step.steers);
    more?.(change, work.task);
    if (await commit(workspace, change)) {
      if (step.stops) await drain(deps, work, input, request);
      const {task} = decision;
      const how = {...(downgraded ? {downgraded} : {}), ...(step.steers ? {delivery: 'steer' as const} : {})};
      return {task, runId: run, idempotentHit: false, outcome, ...how, inputId};
    }
    await wait(Math.random() * 2 * attempt);
  }
}

/** Whether the agent that runs now takes messages; asked for those that are to reach it. */
const listens = async (workspace: Workspace, {attempt}: Work, mode: AgentQueueMode): Promise<boolean> =>
  mode === 'steer' && attempt?.status === 'running' && isListening(workspace, attempt.attemptId);

/** The run, or the one that has taken its place. */
async function current(workspace: Workspace, runId: string): Promise<Work> {
  const work = await lookAt(workspace, 'run', runId);
  if (work?.run === undefined) throw notFound('run', runId);
  if (work.task.currentRunId === runId) return work;
  return (await lookAt(workspace, 'task', work.task.taskId)) ?? work;
}

type Written = Extract<InputStep, {kind: 'write'}>;

/** What the run waits for is answered; whoever comes too late waits for the next turn. */
async function answerFirst(
  {workspace: {store}, now}: OrchestratorDeps,
  work: Work,
  input: NewInput,
  step: InputStep,
): Promise<Written | {readonly kind: 'task'}> {
  if (step.kind !== 'answer') return step;
  const {task, attempt} = step.work;
  try {
    await reply(store, now, {
      ...{sessionId: task.sessionId, executionId: attempt.executionId, content: input.message},
      // The same for whoever repeats it.
      replyId: `reply-${digest(attempt.attemptId, input.idempotencyKey)}`,
    });
    return noted(work, input);
  } catch (error) {
    const isLate = error instanceof ByError && LATE.has(error.code);
    if (!isLate) throw error;
    const next = inputStep(work, input, false);
    return next.kind === 'answer' ? {kind: 'task'} : next;
  }
}

const noted = (work: Work, input: NewInput): Written => ({
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

const idempotencyOf = ({keys, name}: Workspace, runId: string, key: string): string =>
  keys.orchIdempotency(name, 'input', digest(runId, key));

const hashOf = ({mode, message}: NewInput): string => digest(mode, message);

const recorded = (input: NewInput, runId: string, outcome: InputOutcome, downgraded?: string): string =>
  JSON.stringify({id: input.inputId, request_hash: hashOf(input), run_id: runId, outcome, downgraded});

/** @returns what came of it then. */
async function earlierInput(
  workspace: Workspace,
  key: string,
  input: NewInput,
): Promise<Omit<RunInputResult, 'task' | 'idempotentHit'> | undefined> {
  const text = await readText(workspace, key);
  if (text === undefined) return undefined;
  const known = JSON.parse(text) as {
    readonly id: string;
    readonly request_hash: string;
    readonly run_id: string;
    readonly outcome: InputOutcome;
    readonly downgraded?: 'steer_unsupported';
  };
  if (known.request_hash !== hashOf(input))
    throw new ByError(
      'IDEMPOTENCY_CONFLICT',
      `This idempotency key was used for another input (${known.id}).`,
      {
        hint: 'Use a new key for a new message.',
        details: {id: known.id},
      },
    );
  const {downgraded} = known;
  return {
    inputId: known.id,
    runId: known.run_id,
    outcome: known.outcome,
    ...(downgraded ? {downgraded} : {}),
  };
}
