/** Archiving: a task that has ended leaves the lists. */
import {ByError} from '../errors.js';
import {isFinalTask} from '../protocol/orchestration/states.js';
import type {AgentTask} from '../protocol/orchestration/task.js';
import type {Workspace} from '../store/orchestration.js';
import {decideOn} from './decide.js';
import {notFound} from './find.js';

/** Harmless to repeat. @throws {ByError} TASK_NOT_FOUND, TASK_NOT_ARCHIVABLE for what has not ended. */
export async function archiveTask(workspace: Workspace, taskId: string): Promise<AgentTask> {
  const found = await decideOn(workspace, 'task', taskId, ({task, nowMs}) => {
    if (task.archivedAt !== undefined) return undefined;
    if (!isFinalTask(task.status) && task.status !== 'idle')
      throw new ByError('TASK_NOT_ARCHIVABLE', `Task ${taskId} is ${task.status}.`, {
        hint: 'Wait for its end, or cancel it first.',
        details: {taskId, status: task.status},
      });
    return {decision: {task: {...task, archivedAt: nowMs}}};
  });
  if (found === undefined) throw notFound('task', taskId);
  return found.done?.decision.task ?? found.work.task;
}
