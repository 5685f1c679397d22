/** by-toolkit/orchestration. */
export {nextCronTime, previewSchedule, type TickPreview} from './cron.js';
export {CronScheduler, schedulerRole, type CronSchedulerOptions, type TickReport} from './cron-scheduler.js';
export type {ScheduledSubmit, SchedulePort, SubmitTask} from './schedule-port.js';
export {Schedules, type BackfilledTick, type PauseOptions} from './schedules.js';
export type {
  CreateScheduleParams,
  MissedPolicy,
  OverlapPolicy,
  ScheduledTask,
  SchedulePatch,
  TickRecord,
} from '../protocol/orchestration/schedule.js';
