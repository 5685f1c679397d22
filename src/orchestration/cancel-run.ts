/** Cancelling a run or a task, and what runs it. */
import {ByError} from '../errors.js';
import {isFinalRun, isFinalTask} from '../protocol/orchestration/states.js';
import type {AgentTask} from '../protocol/orchestration/task.js';
import type {AgentRun} from '../protocol/orchestration/run.js';
import type {Work} from '../store/orchestration.js';
import {cancelled, type CancelOptions} from './cancelling.js';
import {decideOn} from './decide.js';
import type {OrchestratorDeps} from './deps.js';
import {isBegun} from './ending.js';
import {notFound} from './find.js';
import {stopAttempt} from './stop-attempt.js';

export type {CancelOptions};

export interface CancelResult {
  /**
   * `cancelled`: nothing runs any more. `requested`: what runs was told. `already_finished`: it had ended before.
   */
  readonly outcome: 'cancelled' | 'requested' | 'already_finished';
  /** It had been cancelled before. */
  readonly already: boolean;
  readonly task: AgentTask;
  readonly run: AgentRun | undefined;
  /** Who runs it, where somebody does. */
  readonly workerId?: string;
}

/** @throws {ByError} TASK_NOT_FOUND; TASK_FINAL for what has ended otherwise. */
export async function cancelTask(
  deps: OrchestratorDeps,
  taskId: string,
  options: CancelOptions = {},
): Promise<CancelResult> {
  const {work, done} = await cancel(deps, 'task', taskId, options);
  if (done !== undefined || work.task.status === 'cancelled' || !isFinalTask(work.task.status))
    return resultOf(work, done);
  throw new ByError('TASK_FINAL', `Task ${taskId} has ended (${work.task.status}).`, {
    hint: 'Nothing is left to cancel.',
    details: {status: work.task.status},
  });
}

/** What has ended is no error here: whoever finishes first wins. @throws {ByError} RUN_NOT_FOUND */
export async function cancelRun(
  deps: OrchestratorDeps,
  runId: string,
  options: CancelOptions = {},
): Promise<CancelResult> {
  const {work, done} = await cancel(deps, 'run', runId, options);
  return resultOf(work, done);
}

async function cancel(deps: OrchestratorDeps, kind: 'task' | 'run', id: string, options: CancelOptions) {
  const found = await decideOn(deps.workspace, kind, id, work => step(work, options));
  if (found === undefined) throw notFound(kind, id);
  const {work, done} = found;
  if (done?.stop !== undefined && isBegun(work))
    await stopAttempt(deps, work.task.sessionId, {...work.attempt, stopClass: 'cancelled'}, done.stop);
  return found;
}

type Step = NonNullable<ReturnType<typeof cancelled>>;

function step(work: Work, options: CancelOptions): Step | undefined {
  if (work.task.status === 'idle') return {decision: {task: {...work.task, status: 'cancelled'}}};
  return isBegun(work) ? cancelled(work, options) : undefined;
}

function resultOf(work: Work, done: Step | undefined): CancelResult {
  const {task, run, attempt} = work;
  const next = done?.decision;
  const wasAsked = run?.cancelRequestedAt !== undefined || task.status === 'cancelled';
  const isOver = run === undefined || isFinalRun(run.status);
  const workerId = attempt?.place === 'inflight' ? attempt.workerId : undefined;
  return {
    outcome:
      done === undefined
        ? isOver
          ? 'already_finished'
          : 'requested'
        : done.stop === undefined
          ? 'cancelled'
          : 'requested',
    already: wasAsked,
    task: next?.task ?? task,
    run: next?.runs?.find(({runId}) => runId === run?.runId) ?? run,
    ...(workerId === undefined ? {} : {workerId}),
  };
}
