/**
 * Fires schedules. Any number of replicas may do it: of those that see a tick due one wins it, and what a dead one has won
 * another takes over. A tick's task is submitted under a key of the schedule and the tick, so whatever happens it is one task.
 */
import {sleep, systemClock, within} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {newHexUuid} from '../ids.js';
import {createLogger} from '../json-log.js';
import type {Logger} from '../log.js';
import type {ScheduledTask} from '../protocol/orchestration/schedule.js';
import {
  abandonedSchedules,
  advanceSchedule,
  countEnd,
  dueSchedules,
  lookLater,
  readFiringSchedule,
  readScheduleById,
  revertSchedule,
  strikeTick,
  takeTicks,
  waitingEnds,
  type Strike,
} from '../store/schedules.js';
import {serverNowMs, type Store} from '../store/store.js';
import {cronTimes, type CronTimes} from './cron.js';
import {jitterOf, MOST_RETRIED_MS, planTicks} from './plan-ticks.js';
import type {SchedulePort} from './schedule-port.js';
import {tickSubmit} from './tick-submit.js';

export interface CronSchedulerOptions {
  readonly store: Store;
  readonly workspace: string;
  readonly port: SchedulePort;
  /** Milliseconds between two looks. Default 5,000. */
  readonly pollMs?: number;
  /** Schedules taken at one look. Default 50. */
  readonly batch?: number;
  /** Schedules dealt with at once. Default 5. */
  readonly concurrency?: number;
  /** Milliseconds one submit may take. Default 30,000. */
  readonly submitTimeoutMs?: number;
  /** Milliseconds after which another replica takes over ticks that were not submitted. Default 60,000. */
  readonly leaseMs?: number;
  readonly log?: Logger;
}

/** What one look did. */
export interface TickReport {
  /** Schedules that were due or left by another replica. */
  looked: number;
  submitted: number;
  /** Because the task before had not ended. */
  skipped: number;
  /** For good. */
  failed: number;
  /** Tried again later, or waiting for the task before. */
  putBack: number;
  /** Left out as too late. */
  missed: number;
  /** Schedules whose ticks were taken over. */
  takenOver: number;
  /** Because too many failed in a row, by how their tasks ended. */
  paused: number;
  /** Schedules that could not be dealt with at all. */
  errors: number;
  /** Whether more is due already. */
  more: boolean;
}

const WAIT_MS = 5000;
const LONGEST_WAIT_MS = 300_000;
/** Until a schedule is looked at again that could not be dealt with. */
const LOOK_AGAIN_MS = 60_000;
/** Ticks left by a dead replica are submitted for at least so long, however small the catch-up window. */
const LEAST_TAKEN_MS = 600_000;
const MOST_SKEW_MS = 2000;

/** A schedule's ticks, won by one wake-up. */
interface Firing {
  readonly schedule: ScheduledTask;
  readonly owner: string;
  readonly ticks: readonly number[];
  /** Of the schedule as it has gone on. */
  readonly nextRunAt: number | undefined;
}

type Dealt =
  | {readonly kind: 'strike'; readonly strike: Pick<Strike, 'outcome' | 'taskId' | 'reason'>}
  | {readonly kind: 'held' | 'failed'};

export class CronScheduler {
  private readonly pollMs: number;
  private readonly batch: number;
  private readonly concurrency: number;
  private readonly submitTimeoutMs: number;
  private readonly leaseMs: number;
  private readonly log: Logger;
  private isSkewed = false;

  constructor(private readonly options: CronSchedulerOptions) {
    this.pollMs = options.pollMs ?? 5000;
    this.batch = options.batch ?? 50;
    this.concurrency = options.concurrency ?? 5;
    this.submitTimeoutMs = options.submitTimeoutMs ?? 30_000;
    this.leaseMs = options.leaseMs ?? 60_000;
    this.log = options.log ?? createLogger();
  }

  /** Fires until it is told to stop; what it has won and not submitted by then is given back. Never rejects. */
  async start({signal}: {readonly signal: AbortSignal}): Promise<void> {
    while (!signal.aborted) {
      let more = false;
      try {
        ({more} = await this.tickOnce(signal));
      } catch (error) {
        this.log.warn('looking for due schedules failed', {error: messageOf(error)});
      }
      // A little apart, so that replicas do not look all at once.
      if (!more) await sleep(this.pollMs * (1 + Math.random() / 5), signal);
    }
  }

  /** One look at what is due and at what others left. @throws {ByError} if Redis can not be asked. */
  async tickOnce(signal?: AbortSignal): Promise<TickReport> {
    const {store, workspace} = this.options;
    const report: TickReport = {
      ...{looked: 0, submitted: 0, skipped: 0, failed: 0, putBack: 0},
      ...{missed: 0, takenOver: 0, paused: 0, errors: 0, more: false},
    };
    const now = await serverNowMs(store);
    this.watchClock(now);
    // First: what failed too often is not fired again.
    await this.countEnds(report);
    const [abandoned, due] = await Promise.all([
      abandonedSchedules(store, workspace, now, this.batch),
      dueSchedules(store, workspace, now, this.batch),
    ]);
    report.more ||= abandoned.length === this.batch || due.length === this.batch;
    const acts = [
      ...abandoned.map(id => () => this.takeOver(id, report, signal)),
      ...due.map(id => async () => {
        try {
          await this.fireDue(id, now, report, signal);
        } catch (error) {
          await lookLater(store, workspace, id, now + LOOK_AGAIN_MS);
          throw error;
        }
      }),
    ];
    report.looked = acts.length;
    await inParallel(acts, this.concurrency, async act => {
      if (signal?.aborted) return;
      try {
        await act();
      } catch (error) {
        report.errors++;
        this.log.warn('a schedule could not be fired', {error: messageOf(error)});
      }
    });
    // What could not be dealt with is not looked for again at once.
    if (report.errors > 0) report.more = false;
    return report;
  }

  /** One after the other: of two replicas none counts an end before the one that came before it. */
  private async countEnds(report: TickReport): Promise<void> {
    const {store, workspace} = this.options;
    const ends = await waitingEnds(store, workspace, this.batch);
    report.more = ends.length === this.batch;
    for (const one of ends) {
      const schedule = one.end && (await readScheduleById(store, workspace, one.end.scheduleId));
      const verdict = await countEnd(store, workspace, one, schedule?.pauseAfterFailures ?? 0);
      if (verdict !== 'paused') continue;
      report.paused++;
      this.log.warn('a schedule was paused: its tasks failed too often', {
        ...{schedule: schedule?.externalId, task_id: one.end?.taskId, reason: one.end?.reason},
      });
    }
  }

  private async fireDue(id: string, now: number, report: TickReport, signal?: AbortSignal): Promise<void> {
    const {store, workspace} = this.options;
    const schedule = await readScheduleById(store, workspace, id);
    if (schedule?.active !== true || schedule.nextRunAt === undefined) {
      // It can not be read, or was paused a moment ago.
      await lookLater(store, workspace, id, now + LOOK_AGAIN_MS);
      return;
    }
    if (schedule.firing.length > 0) {
      // Ticks of it under way come first.
      await lookLater(store, workspace, id, now + this.pollMs);
      return;
    }
    const times = cronTimes(schedule.cronExpr, schedule.timezone);
    const plan = planTicks(schedule, {now, graceMs: 2 * this.pollMs, next: tick => times.next(tick)});
    if (plan.next === schedule.nextRunAt) return;
    const owner = newHexUuid();
    const won = await advanceSchedule(store, workspace, {
      ...{from: schedule, owner, leaseMs: this.leaseMs, fire: plan.fire, missed: plan.missed},
      ...{next: plan.next === undefined ? undefined : dueAt(schedule, plan.next), ending: plan.ending},
    });
    if (!won) return;
    report.missed += plan.missed?.count ?? 0;
    if (plan.missed) this.log.warn('ticks were missed', {schedule: schedule.externalId, ...plan.missed});
    await this.fire({schedule, owner, ticks: plan.fire, nextRunAt: plan.next}, times, report, signal);
    // Of many missed ticks the next slice.
    if (plan.next !== undefined && plan.fire.length > 1 && plan.next <= now) report.more = true;
  }

  private async takeOver(id: string, report: TickReport, signal?: AbortSignal): Promise<void> {
    const {store, workspace} = this.options;
    const window = (await readScheduleById(store, workspace, id))?.catchupWindowMs ?? 0;
    const owner = newHexUuid();
    const ticks = await takeTicks(store, workspace, id, {
      ...{owner, leaseMs: this.leaseMs},
      tooOldMs: Math.min(Math.max(window, LEAST_TAKEN_MS), MOST_RETRIED_MS),
    });
    const schedule = ticks.length === 0 ? undefined : await readFiringSchedule(store, workspace, id);
    if (schedule === undefined) return;
    report.takenOver++;
    this.log.info('took over ticks', {schedule: schedule.externalId, ticks: ticks.length});
    const times = cronTimes(schedule.cronExpr, schedule.timezone);
    await this.fire({schedule, owner, ticks, nextRunAt: schedule.nextRunAt}, times, report, signal);
  }

  private async fire(
    {schedule, owner, ticks, nextRunAt}: Firing,
    times: CronTimes,
    report: TickReport,
    signal?: AbortSignal,
  ): Promise<void> {
    const {store, workspace, port} = this.options;
    let previous = schedule.lastTaskId;
    for (const tick of ticks) {
      const dealt: Dealt = signal?.aborted
        ? {kind: 'held'}
        : await this.dealWith({...schedule, lastTaskId: previous}, tick, times);
      if (dealt.kind !== 'strike') {
        report.putBack++;
        await revertSchedule(store, workspace, schedule.scheduleId, {
          ...{owner, tick, nextRunAt, cause: dealt.kind, longestMs: LONGEST_WAIT_MS},
          waitMs: signal?.aborted ? 0 : dealt.kind === 'held' ? this.pollMs : WAIT_MS,
        });
        return;
      }
      const {strike} = dealt;
      const verdict = await strikeTick(store, workspace, schedule, {
        ...{owner, tick, leaseMs: this.leaseMs, resets: port.tellsEnds !== true},
        ...strike,
      });
      count(report, strike.outcome);
      if (verdict === 'cancel' && strike.taskId !== undefined)
        await port.cancelTask(workspace, strike.taskId);
      if (verdict !== 'go') return;
      previous = strike.taskId ?? previous;
    }
  }

  /** One tick: looks whether the task before has ended, and submits. */
  private async dealWith(schedule: ScheduledTask, tick: number, times: CronTimes): Promise<Dealt> {
    const {workspace, port} = this.options;
    const {overlapPolicy, lastTaskId, externalId} = schedule;
    try {
      if (
        overlapPolicy !== 'allow' &&
        lastTaskId !== undefined &&
        !(await port.isTaskFinal(workspace, lastTaskId))
      ) {
        if (overlapPolicy === 'skip')
          return {
            kind: 'strike',
            strike: {outcome: 'skipped_overlap', reason: `${lastTaskId} had not ended`},
          };
        if (overlapPolicy === 'queue') return {kind: 'held'};
        await port.cancelTask(workspace, lastTaskId);
      }
      const taskId = await this.submit(schedule, tick, times);
      return {kind: 'strike', strike: {outcome: 'submitted', taskId}};
    } catch (error) {
      const isFinal = error instanceof ByError && !error.retryable;
      this.log.warn(isFinal ? 'a tick failed' : 'a tick could not be submitted yet', {
        ...{schedule: externalId, tick, error: messageOf(error)},
      });
      if (!isFinal) return {kind: 'failed'};
      return {
        kind: 'strike',
        strike: {outcome: 'failed', reason: `${error.code}: ${error.message}`.slice(0, 200)},
      };
    }
  }

  private async submit(schedule: ScheduledTask, tick: number, times: CronTimes): Promise<string> {
    const {workspace, port} = this.options;
    const stop = new AbortController();
    const submitting = port.submitTask(tickSubmit(schedule, tick, {workspace, times}), stop.signal);
    if (await within(this.submitTimeoutMs, submitting)) return (await submitting).taskId;
    stop.abort();
    throw new ByError('TIMEOUT', `A submit took more than ${this.submitTimeoutMs} ms.`, {
      hint: 'It is made again, under the same key.',
    });
  }

  /** Redis's clock decides; one that differs is worth a word, because logs are read by it. */
  private watchClock(now: number): void {
    const skewMs = Math.round(systemClock() - now);
    const isSkewed = Math.abs(skewMs) > MOST_SKEW_MS;
    if (isSkewed && !this.isSkewed)
      this.log.warn('clock_skew: this clock differs from that of Redis', {skewMs});
    this.isSkewed = isSkewed;
  }
}

/** A tick, and when to look at it. */
export function dueAt(
  {scheduleId, jitterMs}: Pick<ScheduledTask, 'scheduleId' | 'jitterMs'>,
  tick: number,
): {readonly tick: number; readonly lookAt: number} {
  return {tick, lookAt: tick + jitterOf(scheduleId, tick, jitterMs)};
}

function count(report: TickReport, outcome: Strike['outcome']): void {
  if (outcome === 'submitted') report.submitted++;
  else if (outcome === 'failed') report.failed++;
  else report.skipped++;
}

async function inParallel<T>(
  items: readonly T[],
  most: number,
  act: (item: T) => Promise<void>,
): Promise<void> {
  let at = 0;
  const worker = async () => {
    for (let item = items[at++]; item !== undefined; item = items[at++]) await act(item);
  };
  await Promise.all(Array.from({length: Math.min(most, items.length)}, worker));
}

/** The part of `by serve` that fires schedules. */
export const schedulerRole = (options: CronSchedulerOptions) => ({
  name: 'scheduler' as const,
  run: (signal: AbortSignal): Promise<void> => new CronScheduler(options).start({signal}),
});
