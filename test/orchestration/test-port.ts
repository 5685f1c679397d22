/** Tasks for tests of schedules: what was submitted under which key, kept outside of the store that is tested. */
import type {SchedulePort, ScheduledSubmit} from '../../src/orchestration/schedule-port.js';

export interface TestTask {
  readonly taskId: string;
  readonly params: ScheduledSubmit;
  isFinal: boolean;
  isCancelled: boolean;
  /** How often it was asked for: more than once where a submit was repeated. */
  submits: number;
}

export class TestPort implements SchedulePort {
  readonly tasks = new Map<string, TestTask>();
  /** Called before a submit; throws where it is to fail. */
  before: (params: ScheduledSubmit) => void | Promise<void> = () => undefined;
  /** Tasks end as soon as they are there. */
  endsAtOnce = true;

  readonly submitTask = async (params: ScheduledSubmit) => {
    await this.before(params);
    const known = this.tasks.get(params.idempotencyKey);
    if (known !== undefined) {
      known.submits++;
      return {taskId: known.taskId, idempotentHit: true};
    }
    const taskId = `task_${String(this.tasks.size + 1).padStart(26, '0')}`;
    const task = {taskId, params, isFinal: this.endsAtOnce, isCancelled: false, submits: 1};
    this.tasks.set(params.idempotencyKey, task);
    return {taskId, idempotentHit: false};
  };

  isTaskFinal(_workspace: string, taskId: string): Promise<boolean> {
    return Promise.resolve(this.find(taskId)?.isFinal ?? true);
  }

  cancelTask(_workspace: string, taskId: string): Promise<void> {
    const task = this.find(taskId);
    if (task?.isFinal === false) task.isFinal = task.isCancelled = true;
    return Promise.resolve();
  }

  taskStatus(_workspace: string, taskId: string): Promise<string | undefined> {
    const task = this.find(taskId);
    return Promise.resolve(task && (task.isCancelled ? 'cancelled' : task.isFinal ? 'done' : 'running'));
  }

  find(taskId: string): TestTask | undefined {
    return [...this.tasks.values()].find(task => task.taskId === taskId);
  }

  /** Minutes that were submitted, in the order of their first submit. */
  get ticks(): number[] {
    return [...this.tasks.keys()].map(key => Number(key.split(':').at(-1)));
  }
}
