/** Schedules whose ticks are due already: the clock of the tests is Redis's own. */
import {setTimeout} from 'node:timers/promises';
import {newOrchestrationId} from '../../src/protocol/orchestration/ids.js';
import {createScheduleKeys} from '../../src/protocol/orchestration/schedule-keys.js';
import {definitionOf, type CreateScheduleParams} from '../../src/protocol/orchestration/schedule.js';
import {CronScheduler, type CronSchedulerOptions} from '../../src/orchestration/cron-scheduler.js';
import {Schedules} from '../../src/orchestration/schedules.js';
import {silentLogger} from '../../src/log.js';
import * as stored from '../../src/store/schedules.js';
import {serverTimeMs, type Store} from '../../src/store/store.js';
import type {SchedulePort} from '../../src/orchestration/schedule-port.js';

export const MINUTE = 60_000;
export const W = 'ws-1';

/** Names of its keys. */
export const keysOf = (store: Store) => createScheduleKeys({prefix: store.keys.prefix});

export const basics = {
  ...{externalId: 'nightly-report', agentType: 'writer', prompt: 'Write the report.', cronExpr: '* * * * *'},
} satisfies CreateScheduleParams;

/** The minute each test counts from. */
const minuteOf = new WeakMap<Store, number>();

/**
 * The whole minute so many minutes ago. Shortly before the next minute the first call of a test waits for that one: a
 * schedule of every minute has one tick more then, and a test that counts ticks is over long before there is another.
 * What is overdue in one test is so from one minute on.
 */
export async function minutesAgo(store: Store, minutes: number): Promise<number> {
  const minute = minuteOf.get(store) ?? (await minuteWithTimeLeft(store));
  minuteOf.set(store, minute);
  return minute - minutes * MINUTE;
}

async function minuteWithTimeLeft(store: Store): Promise<number> {
  const now = await serverTimeMs(store);
  const left = MINUTE - (now % MINUTE);
  if (left >= 8000) return now - (now % MINUTE);
  await setTimeout(left + 10);
  return minuteWithTimeLeft(store);
}

/** A schedule that should have fired for so many minutes. @returns its id and its first tick. */
export async function overdue(
  store: Store,
  port: SchedulePort,
  minutes: number,
  params: Partial<CreateScheduleParams> = {},
): Promise<{readonly scheduleId: string; readonly first: number}> {
  const schedules = new Schedules({store, port});
  const template = await schedules.createSchedule('template', {
    ...{...basics, missedPolicy: 'all', catchupWindowMs: 31_536_000_000, overlapPolicy: 'allow'},
    ...params,
  });
  await schedules.deleteSchedule('template', template.externalId);
  const scheduleId = newOrchestrationId('schedule');
  const first = await minutesAgo(store, minutes);
  await stored.createSchedule(store, W, {
    ...{scheduleId, definition: definitionOf(template), active: true},
    first: {tick: first, lookAt: first},
  });
  return {scheduleId, first};
}

export const scheduler = (store: Store, port: SchedulePort, options: Partial<CronSchedulerOptions> = {}) =>
  new CronScheduler({...{store, port, workspace: W, log: silentLogger}, ...options});
