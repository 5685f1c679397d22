/** A tick as the task that is submitted for it. */
import {createHash} from 'node:crypto';
import type {ScheduledTask} from '../protocol/orchestration/schedule.js';
import type {CronTimes} from './cron.js';
import type {ScheduledSubmit} from './schedule-port.js';
import {localTime} from './time-zone.js';

const LONGEST_LANE = 64;

/** @param tick Unix milliseconds; of a task out of its turn the moment it was asked for. */
export function tickSubmit(
  schedule: ScheduledTask,
  tick: number,
  {
    workspace,
    times,
    key = `schedule:${schedule.scheduleId}:${tick}`,
    trigger = 'tick',
  }: {
    readonly workspace: string;
    readonly times: CronTimes;
    readonly key?: string;
    readonly trigger?: 'tick' | 'run_now' | 'backfill';
  },
): ScheduledSubmit {
  const {scheduleId, externalId, agentId, agentType, sessionMode, skillPaths, taskDefaults} = schedule;
  const {lane = laneOf(schedule), ...defaults} = taskDefaults;
  const ownSession = trigger === 'run_now' ? `${scheduleId}:now:${hashOf(key)}` : `${scheduleId}:${tick}`;
  return {
    workspace,
    ...(agentId !== undefined && {agentId}),
    ...(agentType !== undefined && {agentType}),
    message: schedule.prompt,
    sessionId: `schedule-session:${sessionMode === 'sticky' ? scheduleId : ownSession}`,
    lane,
    idempotencyKey: key,
    spawnedBy: `schedule:${scheduleId}`,
    label: `Schedule: ${externalId}`,
    ...(defaults.priority !== undefined && {priority: defaults.priority}),
    ...(defaults.timeoutMs !== undefined && {timeoutMs: defaults.timeoutMs}),
    ...(defaults.policy !== undefined && {policy: defaults.policy}),
    metadata: {
      schedule: {
        ...{schedule_id: scheduleId, external_id: externalId, trigger},
        ...{scheduled_at: tick, scheduled_local: localText(tick, times.timeZone), timezone: times.timeZone},
        ...(skillPaths.length > 0 && {skill_paths: skillPaths}),
      },
    },
  };
}

/** Without the zone's short name: other machines may know another one, and a repeated request must be the same. */
function localText(at: number, timeZone: string): string {
  const {year, month, day, hour, minute} = localTime(at, timeZone);
  return new Date(Date.UTC(year, month - 1, day, hour, minute)).toISOString().slice(0, 16);
}

/** A key may hold anything; a session id may not. */
const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex').slice(0, 16);

function laneOf({externalId, scheduleId}: ScheduledTask): string {
  const lane = `schedule:${externalId}`;
  return lane.length <= LONGEST_LANE ? lane : `schedule:${scheduleId}`;
}
