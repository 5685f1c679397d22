/** Tasks, as schedules need them. */
import {ByError} from '../errors.js';
import type {AgentCommandParams} from '../protocol/orchestration/command.js';
import {isFinalTask} from '../protocol/orchestration/states.js';
import type {AgentTask} from '../protocol/orchestration/task.js';
import {lookAt, openWorkspace} from '../store/orchestration.js';
import type {Store} from '../store/store.js';
import {cancelTask} from './cancel-run.js';
import {orchestratorDeps} from './deps.js';
import type {SchedulePort, ScheduledSubmit} from './schedule-port.js';
import {acceptTask} from './submit.js';

export function taskPort(store: Store): SchedulePort {
  const taskOf = async (workspace: string, taskId: string): Promise<AgentTask | undefined> =>
    (await lookAt(openWorkspace(store, workspace), 'task', taskId))?.task;
  return {
    tellsEnds: true,
    async submitTask(params) {
      try {
        const {task, idempotentHit} = await acceptTask(
          openWorkspace(store, params.workspace),
          requestOf(params),
        );
        return {taskId: task.taskId, idempotentHit};
      } catch (error) {
        // The schedule was changed since the tick was submitted: the tick is that task all the same.
        const id = error instanceof ByError && error.code === 'IDEMPOTENCY_CONFLICT' && error.details['id'];
        if (typeof id === 'string') return {taskId: id, idempotentHit: true};
        throw error;
      }
    },
    async isTaskFinal(workspace, taskId) {
      const task = await taskOf(workspace, taskId);
      return task === undefined || task.status === 'idle' || isFinalTask(task.status);
    },
    async cancelTask(workspace, taskId) {
      try {
        await cancelTask(orchestratorDeps(openWorkspace(store, workspace)), taskId);
      } catch (error) {
        if (!(error instanceof ByError) || !ENDED.has(error.code)) throw error;
      }
    },
    async taskStatus(workspace, taskId) {
      const status = (await taskOf(workspace, taskId))?.status;
      return status === 'done' ? 'ok' : status;
    },
  };
}

const ENDED: ReadonlySet<string> = new Set(['TASK_FINAL', 'TASK_ARCHIVED', 'TASK_NOT_FOUND']);

function requestOf({
  workspace: _workspace,
  agentId,
  agentType,
  metadata,
  policy,
  ...rest
}: ScheduledSubmit): AgentCommandParams {
  return {
    ...rest,
    // A profile may be named by its key, which is an agent type too.
    ...(agentId === undefined ? {agentType} : {agentId}),
    ...(policy === undefined ? {} : {policy: policy}),
    inputProvenance: {...metadata},
  };
}
