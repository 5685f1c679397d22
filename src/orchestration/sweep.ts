/** The sweeper: time that is over, workers that are gone, stops that were not heard, tasks nobody wants any more. */
import {serverNowMs} from '../store/store.js';
import {statusKind} from '../protocol/execution.js';
import {isFinalTask} from '../protocol/orchestration/states.js';
import {currentExecution} from '../store/executions.js';
import {membersUpTo, takeFrom} from '../store/orchestration-lists.js';
import {lookAt} from '../store/orchestration.js';
import {liveLeases} from '../store/recovery.js';
import {carryOut, decideOn} from './decide.js';
import {forEach, type OrchestratorDeps} from './deps.js';
import {expired} from './dispatching.js';
import {isBegun} from './ending.js';
import {underWay} from './project.js';
import {stopAttempt} from './stop-attempt.js';
import {watched} from './watching.js';

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
  const record = await currentExecution(workspace.store, task.sessionId, attempt);
  const kind = record === undefined ? 'queued' : statusKind(record.status);
  const isRunning = (kind === 'running' || kind === 'cancelling') && record?.workerId !== undefined;
  const workerId = record?.workerId ?? '';
  const hasLease =
    !isRunning || workerId === '' || (await liveLeases(workspace.store, [workerId])).has(workerId);
  const order = watched(work, {isRunning, hasLease}, times);
  if (order.decision !== undefined && !(await carryOut(workspace, work, order.decision))) return;
  if (order.stop !== undefined)
    return stopAttempt(deps, task.sessionId, stopped(order.decision, attempt), order.stop);
  // Whoever asked for it may have died before saying so.
  const {stopRequestedAt, stopMode = 'graceful'} = attempt;
  const isUnheard = stopRequestedAt !== undefined && kind !== 'terminal' && record?.cancelRequested !== true;
  if (isUnheard && record !== undefined) await stopAttempt(deps, task.sessionId, attempt, stopMode);
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
