/** The sweeper: time that is over, workers that are gone, stops that were not heard, tasks nobody wants any more. */
import {serverNowMs} from '../store/store.js';
import {statusKind} from '../protocol/execution.js';
import {isFinalTask} from '../protocol/orchestration/states.js';
import {findExecution} from '../store/executions.js';
import {membersUpTo, takeFrom} from '../store/orchestration-lists.js';
import {lookAt, type Workspace} from '../store/orchestration.js';
import {liveLeases} from '../store/recovery.js';
import {carryOut, decideOn} from './decide.js';
import {forEach, type OrchestratorDeps} from './deps.js';
import {expired} from './dispatching.js';
import {isBegun, type Begun} from './ending.js';
import {underWay} from './project.js';
import {stopAttempt} from './stop-attempt.js';
import {watched, type Signs} from './watching.js';

const EXPIRED_AT_ONCE = 100;

export async function sweepPass(deps: OrchestratorDeps): Promise<void> {
  await forEach(deps, await underWay(deps.workspace), 'watching an attempt', id => watchAttempt(deps, id));
  await dropExpired(deps);
}

async function watchAttempt(deps: OrchestratorDeps, attemptId: string): Promise<void> {
  const {workspace, times} = deps;
  const work = await lookAt(workspace, 'att', attemptId);
  if (!isBegun(work)) return;
  const {task, attempt} = work;
  const {isUnheard, ...signs} = saysItWorks(work) ? AT_WORK : await signsOf(workspace, work);
  const order = watched(work, signs, times);
  if (order.decision !== undefined && !(await carryOut(workspace, work, order.decision))) return;
  if (order.stop !== undefined)
    return stopAttempt(deps, task.sessionId, stopped(order.decision, attempt), order.stop);
  if (isUnheard) await stopAttempt(deps, task.sessionId, attempt, attempt.stopMode ?? 'graceful');
}

interface Look extends Signs {
  /** It was to be stopped, and nobody told it: whoever wanted to may have died before. */
  readonly isUnheard: boolean;
}

/** Its worker has renewed the lease of its session: there is nothing to look for. */
const saysItWorks = ({holder, leaseUntilMs, nowMs, attempt}: Begun): boolean =>
  holder === attempt.attemptId && leaseUntilMs > nowMs && attempt.stopRequestedAt === undefined;

const AT_WORK: Look = {isRunning: true, hasLease: true, isUnheard: false};

/** What its record and its worker's lease say. */
async function signsOf({store}: Workspace, {task, attempt}: Begun): Promise<Look> {
  const record = await findExecution(store, task.sessionId, attempt.executionId);
  if (record === undefined) return {isRunning: false, hasLease: true, isUnheard: false};
  const {workerId, cancelRequested} = record;
  const kind = statusKind(record.status);
  const isRunning = kind === 'running' || kind === 'cancelling';
  const hasLease = !isRunning || workerId === '' || (await liveLeases(store, [workerId])).has(workerId);
  const isUnheard = attempt.stopRequestedAt !== undefined && kind !== 'terminal' && cancelRequested !== true;
  return {isRunning, hasLease, isUnheard};
}

const stopped = (
  decision: {readonly attempts?: readonly StoppedAttempt[]} | undefined,
  attempt: StoppedAttempt,
) => decision?.attempts?.find(({attemptId}) => attemptId === attempt.attemptId) ?? attempt;

type StoppedAttempt = Parameters<typeof stopAttempt>[2] & {readonly attemptId: string};

async function dropExpired(deps: OrchestratorDeps): Promise<void> {
  const {workspace} = deps;
  const key = workspace.keys.orchExpiring(workspace.name);
  const due = await membersUpTo(workspace, key, await serverNowMs(workspace.store), EXPIRED_AT_ONCE);
  await forEach(deps, due, 'dropping a task', async taskId => {
    await decideOn(workspace, 'task', taskId, work => {
      if (!isBegun(work) || isFinalTask(work.task.status)) return undefined;
      const hasBegun = work.attempt.place === 'inflight' || work.run.startedAt !== undefined;
      return hasBegun ? undefined : {decision: expired(work)};
    });
    await takeFrom(workspace, key, taskId);
  });
}
