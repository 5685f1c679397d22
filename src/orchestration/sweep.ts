/** The sweeper: time that is over, workers that are gone, stops that were not heard, tasks nobody wants any more. */
import {serverNowMs} from '../store/store.js';
import {isFinalTask} from '../protocol/orchestration/states.js';
import {membersUpTo, takeFrom} from '../store/orchestration-lists.js';
import {decideOn} from './decide.js';
import {forEach, type OrchestratorDeps} from './deps.js';
import {expired} from './dispatching.js';
import {isBegun} from './ending.js';
import {underWay} from './project.js';
import {watchAttempt} from './reconcile.js';

const EXPIRED_AT_ONCE = 100;

export async function sweepPass(deps: OrchestratorDeps): Promise<void> {
  await forEach(deps, await underWay(deps.workspace), 'watching an attempt', id => watchAttempt(deps, id));
  await dropExpired(deps);
}

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
