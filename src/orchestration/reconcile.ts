/** Whether what has a session is still at work: time alone frees none, only proof does. */
import {messageOf} from '../errors.js';
import {statusKind} from '../protocol/execution.js';
import {extractLeaseExecutionID} from '../protocol/orchestration/attempt.js';
import {currentExecution} from '../store/executions.js';
import {lookAround, lookAt, type Workspace} from '../store/orchestration.js';
import {liveLeases} from '../store/recovery.js';
import {carryOut} from './decide.js';
import type {OrchestratorDeps} from './deps.js';
import {isBegun, type Begun} from './ending.js';
import {projectAttempt} from './project.js';
import {stopAttempt} from './stop-attempt.js';
import {watched, type Signs} from './watching.js';

/**
 * Let go of a session whose holder has ended, was never sent or is lost, and keep it for one that may be at work: also where that can
 * not be found out. What is lost is stopped first, so that it may take a few calls (`by serve` looks every second).
 * @param owner as it stands in the session's lease, `workerID:executionID`.
 * @returns whether the session is not, or no more, this owner's.
 */
export async function reconcileStaleSessionLease(
  deps: OrchestratorDeps,
  sessionId: string,
  owner: string,
): Promise<boolean> {
  const {workspace, log} = deps;
  const executionId = extractLeaseExecutionID(owner);
  const holderOf = async (): Promise<string | undefined> => {
    const {holder} = await lookAround(workspace, sessionId, '');
    const work = holder === '' ? undefined : await lookAt(workspace, 'att', holder);
    return work?.attempt?.executionId === executionId ? holder : undefined;
  };
  try {
    const attemptId = await holderOf();
    if (attemptId === undefined) return true;
    await watchAttempt(deps, attemptId);
    return (await holderOf()) === undefined;
  } catch (error) {
    log.warn('a session is kept: its holder can not be looked at', {
      ...{session_id: sessionId, owner, error: messageOf(error)},
    });
    return false;
  }
}

/** Look after an attempt under way: its end, its time, its worker, and stops that were not heard. */
export async function watchAttempt(deps: OrchestratorDeps, attemptId: string): Promise<void> {
  const {workspace, times} = deps;
  const work = await lookAt(workspace, 'att', attemptId);
  if (!isBegun(work)) return;
  const {task, attempt} = work;
  const {isUnheard, isOver, ...signs} = saysItWorks(work) ? AT_WORK : await signsOf(workspace, work);
  // Its end frees the session; a projector may not be there to see it.
  if (isOver && (await projectAttempt(deps, attemptId))) return;
  const order = watched(work, signs, times);
  if (order.decision !== undefined && !(await carryOut(workspace, work, order.decision))) return;
  if (order.stop !== undefined)
    return stopAttempt(deps, task.sessionId, stopped(order.decision, attempt), order.stop);
  if (isUnheard) await stopAttempt(deps, task.sessionId, attempt, attempt.stopMode ?? 'graceful');
}

interface Look extends Signs {
  /** It was to be stopped, and nobody told it: whoever wanted to may have died before. */
  readonly isUnheard: boolean;
  /** Its record says that it has ended, or is not there. */
  readonly isOver: boolean;
}

/** Its worker has renewed the lease of its session: there is nothing to look for. */
const saysItWorks = ({holder, leaseUntilMs, nowMs, attempt}: Begun): boolean =>
  holder === attempt.attemptId && leaseUntilMs > nowMs && attempt.stopRequestedAt === undefined;

const AT_WORK: Look = {isRunning: true, hasLease: true, isUnheard: false, isOver: false};

/** What its record and its worker's lease say. */
async function signsOf({store}: Workspace, {task, attempt}: Begun): Promise<Look> {
  const record = await currentExecution(store, task.sessionId, attempt);
  if (record === undefined) return {isRunning: false, hasLease: true, isUnheard: false, isOver: true};
  const {workerId, cancelRequested} = record;
  const kind = statusKind(record.status);
  const isOver = kind === 'terminal';
  const isRunning = kind === 'running' || kind === 'cancelling';
  const hasLease = !isRunning || workerId === '' || (await liveLeases(store, [workerId])).has(workerId);
  const isUnheard = attempt.stopRequestedAt !== undefined && !isOver && cancelRequested !== true;
  return {isRunning, hasLease, isUnheard, isOver};
}

const stopped = (
  decision: {readonly attempts?: readonly StoppedAttempt[]} | undefined,
  attempt: StoppedAttempt,
) => decision?.attempts?.find(({attemptId}) => attemptId === attempt.attemptId) ?? attempt;

type StoppedAttempt = Parameters<typeof stopAttempt>[2] & {readonly attemptId: string};
