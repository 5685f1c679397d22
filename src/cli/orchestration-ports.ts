/** What commands about schedules need of the part that runs tasks. The one place where it is chosen. */
import {ByError} from '../errors.js';
import type {SchedulePort} from '../orchestration/schedule-port.js';
import type {Store} from '../store/store.js';

/** Without an orchestrator in this program nothing can be submitted; schedules can still be kept. */
export function schedulePort(_store: Store): SchedulePort {
  const missing = (what: string) => () =>
    Promise.reject(
      new ByError('SERVICE_UNAVAILABLE', `This program can not ${what}: it has no part that runs tasks.`, {
        hint: 'The schedule is kept; it fires where `by serve` runs.',
      }),
    );
  return {
    submitTask: missing('submit a task'),
    cancelTask: missing('cancel a task'),
    isTaskFinal: () => Promise.resolve(true),
  };
}
