/** Schedules as people handle them: create, look, change, pause, run out of turn. */
import {ByError} from '../errors.js';
import {suggest} from '../nearest.js';
import {newOrchestrationId} from '../protocol/orchestration/ids.js';
import {
  checkCreateSchedule,
  checkSchedulePatch,
  definitionOf,
  ScheduleDefinition,
  stateOf,
  type CreateScheduleParams,
  type ScheduledTask,
  type SchedulePatch,
  type TickRecord,
} from '../protocol/orchestration/schedule.js';
import {writeRecord} from '../protocol/orchestration/record.js';
import * as stored from '../store/schedules.js';
import {serverNowMs, type Store} from '../store/store.js';
import {dueAt} from './cron-scheduler.js';
import {cronTimes, neverFires, type CronTimes} from './cron.js';
import type {SchedulePort} from './schedule-port.js';
import {tickSubmit} from './tick-submit.js';

/** How often a change is tried against those of others. */
const TRIES = 3;
/** Intervals are measured over so many ticks. */
const MEASURED_TICKS = 200;
/** Ticks of a backfill, at most. */
export const MOST_BACKFILLED = 1000;

export interface PauseOptions {
  /** Why; shown to whoever looks. */
  readonly note?: string;
  /** Cancel its task that runs, too. */
  readonly cancelRunning?: boolean;
}

export interface BackfilledTick {
  /** Unix milliseconds. */
  readonly tick: number;
  readonly result: 'submitted' | 'already_ran' | 'planned';
  readonly taskId?: string;
}

export class Schedules {
  constructor(private readonly options: {readonly store: Store; readonly port: SchedulePort}) {}

  /**
   * Create a schedule. The same one again is the one that is there.
   * @throws {ByError} INVALID_INPUT, CRON_INVALID, TIMEZONE_INVALID, CRON_NEVER_FIRES, SCHEDULE_EXISTS.
   */
  async createSchedule(workspace: string, params: CreateScheduleParams): Promise<ScheduledTask> {
    return (await this.ensureSchedule(workspace, params)).schedule;
  }

  /** As {@link createSchedule}, and whether it was not there before. */
  async ensureSchedule(
    workspace: string,
    params: CreateScheduleParams,
  ): Promise<{readonly schedule: ScheduledTask; readonly isNew: boolean}> {
    const {store} = this.options;
    const scheduleId = newOrchestrationId('schedule');
    const {definition, first, active} = await this.planSchedule(params, scheduleId);
    const name = definition.externalId;
    const owner = await stored.createSchedule(store, workspace, {
      ...{scheduleId, definition, active},
      first: active ? dueAt({scheduleId, jitterMs: definition.jitterMs}, first) : undefined,
    });
    const found = await stored.readScheduleById(store, workspace, owner);
    const isNew = owner === scheduleId;
    if (found !== undefined && (isNew || isSame(found, definition))) return {schedule: found, isNew};
    throw new ByError('SCHEDULE_EXISTS', `A schedule "${name}" exists already, and is another one.`, {
      hint: 'Change it with `by schedule update`, or take another name.',
      next: [`by schedule show ${name}`],
      details: {scheduleId: owner},
    });
  }

  /** What would be created, and its first tick. @throws {ByError} as {@link createSchedule}. */
  async planSchedule(
    params: CreateScheduleParams,
    scheduleId = newOrchestrationId('schedule'),
  ): Promise<{readonly definition: ScheduleDefinition; readonly first: number; readonly active: boolean}> {
    const {
      active,
      externalId = `s-${scheduleId.slice(-12).toLowerCase()}`,
      ...given
    } = checkCreateSchedule(params);
    const now = await this.now();
    const definition = checked({...given, externalId}, now);
    return {definition, first: requireFirst(definition, now), active};
  }

  /** @throws {ByError} SCHEDULE_NOT_FOUND. */
  async getSchedule(workspace: string, externalId: string): Promise<ScheduledTask> {
    const {store} = this.options;
    const found = externalId.startsWith('sch_')
      ? await stored.readScheduleById(store, workspace, externalId)
      : await stored.findSchedule(store, workspace, externalId);
    if (found !== undefined) return found;
    const near = suggest(externalId, await stored.scheduleNames(store, workspace));
    throw new ByError(
      'SCHEDULE_NOT_FOUND',
      `There is no schedule "${externalId}" in workspace ${workspace}.`,
      {
        hint: near === null ? 'See what there is with `by schedule list`.' : `Did you mean "${near}"?`,
        next: ['by schedule list'],
      },
    );
  }

  /** In the order of their creation. */
  async listSchedules(
    workspace: string,
    {active, agentId}: {readonly active?: boolean; readonly agentId?: string} = {},
  ): Promise<ScheduledTask[]> {
    const all = await stored.listSchedules(this.options.store, workspace);
    return all.filter(
      schedule =>
        (active === undefined || (stateOf(schedule) === 'active') === active) &&
        (agentId === undefined || schedule.agentId === agentId || schedule.agentType === agentId),
    );
  }

  /**
   * Change a schedule. Other times, or another end, count from now.
   * @param ifVersion refuse to change another version than this.
   * @throws {ByError} SCHEDULE_NOT_FOUND, VERSION_CONFLICT, and as {@link createSchedule}.
   */
  async updateSchedule(
    workspace: string,
    externalId: string,
    patch: SchedulePatch,
    ifVersion?: number,
  ): Promise<ScheduledTask> {
    const changes = withoutUndefined(checkSchedulePatch(patch));
    return this.change(workspace, externalId, ifVersion, async from => {
      const now = await this.now();
      const definition = checked(patched(from, changes), now);
      if (!isRetimed(from, definition, changes)) return {from, definition, lookAt: 'as before'};
      return {from, definition, ...activated(from, definition, requireFirst(definition, now))};
    });
  }

  /** Fires no more until it is resumed; what it has submitted stays. @throws {ByError} SCHEDULE_NOT_FOUND, STATE_CONFLICT. */
  async pauseSchedule(
    workspace: string,
    externalId: string,
    {note = '', cancelRunning = false}: PauseOptions = {},
  ): Promise<ScheduledTask> {
    const paused = await this.change(workspace, externalId, undefined, from => {
      if (stateOf(from) === 'finished') throw ended(from, 'paused');
      return {
        from,
        lookAt: 'never',
        fields: {
          ...{active: '0', pause_note: note.slice(0, 200), next_run_at: ''},
          // Whoever submits a tick right now is told to cancel it.
          cancel_running: cancelRunning ? '1' : '',
        },
      };
    });
    if (cancelRunning) await this.cancelRunning(workspace, paused);
    return paused;
  }

  /** Goes on from now; what was due meanwhile is left out. @throws {ByError} SCHEDULE_NOT_FOUND, STATE_CONFLICT. */
  resumeSchedule(workspace: string, externalId: string): Promise<ScheduledTask> {
    return this.change(workspace, externalId, undefined, async from => {
      if (stateOf(from) === 'active') return undefined;
      if (stateOf(from) === 'finished') throw ended(from, 'resumed');
      const definition = definitionOf(from);
      const first = firstTick(definition, cronTimes(from.cronExpr, from.timezone), await this.now());
      if (first === undefined) throw ended(from, 'resumed');
      return {from, stopsFiring: true, ...activated(from, definition, first)};
    });
  }

  /** Deleting what is gone is fine. @returns what was deleted. */
  async deleteSchedule(
    workspace: string,
    externalId: string,
    {cancelRunning = false}: {readonly cancelRunning?: boolean} = {},
  ): Promise<ScheduledTask | undefined> {
    const {store} = this.options;
    const found = await stored.findSchedule(store, workspace, externalId);
    if (found === undefined) return undefined;
    if (cancelRunning) await this.cancelRunning(workspace, found);
    return (await stored.deleteSchedule(store, workspace, found)) ? found : undefined;
  }

  /**
   * Submit its task now, out of turn. Its times do not change, and whether a task runs does not matter.
   * @param key the same key again is the same task.
   * @throws {ByError} SCHEDULE_NOT_FOUND, and what the submit throws.
   */
  async triggerSchedule(
    workspace: string,
    externalId: string,
    {key}: {readonly key?: string} = {},
  ): Promise<{readonly taskId: string; readonly idempotentHit: boolean; readonly schedule: ScheduledTask}> {
    const {store, port} = this.options;
    const schedule = await this.getSchedule(workspace, externalId);
    const now = await this.now();
    const {taskId, idempotentHit = false} = await port.submitTask(
      tickSubmit(schedule, now, {
        ...{workspace, times: cronTimes(schedule.cronExpr, schedule.timezone), trigger: 'run_now'},
        key: `schedule:${schedule.scheduleId}:now:${key ?? newOrchestrationId('task').slice('task_'.length)}`,
      }),
    );
    if (!idempotentHit)
      await stored.noteTask(store, workspace, schedule.scheduleId, {tick: now, taskId, trigger: 'run_now'});
    return {taskId, idempotentHit, schedule};
  }

  /**
   * Submit the ticks of a time that has passed. Those that ran are left out, as far as they are remembered: the last 1,000,
   * and what was submitted in the last seven days.
   *
   * @param limit most ticks, the oldest first; up to 1,000.
   * @throws {ByError} SCHEDULE_NOT_FOUND, INVALID_INPUT, and what the submit throws.
   */
  async backfillSchedule(
    workspace: string,
    externalId: string,
    range: {readonly from: number; readonly to: number; readonly limit: number; readonly dryRun?: boolean},
    tell: (tick: BackfilledTick) => void = () => undefined,
  ): Promise<{readonly ticks: readonly BackfilledTick[]; readonly hasMore: boolean}> {
    const {store, port} = this.options;
    const schedule = await this.getSchedule(workspace, externalId);
    const times = cronTimes(schedule.cronExpr, schedule.timezone);
    const {due, hasMore} = ticksWithin(times, {...range, to: Math.min(range.to, await this.now())});
    const ran = new Map(
      (await stored.lastTicks(store, workspace, schedule.scheduleId, MOST_BACKFILLED)).flatMap(
        ({tick, outcome, trigger, taskId}) =>
          outcome === 'submitted' && trigger !== 'run_now' ? [[tick, taskId] as const] : [],
      ),
    );
    const ticks: BackfilledTick[] = [];
    for (const tick of due) {
      const known = ran.get(tick);
      const one: BackfilledTick = ran.has(tick)
        ? {tick, result: 'already_ran', ...(known !== undefined && {taskId: known})}
        : range.dryRun
          ? {tick, result: 'planned'}
          : await this.backfill(workspace, schedule, tick, {times, port});
      ticks.push(one);
      tell(one);
    }
    return {ticks, hasMore};
  }

  private async backfill(
    workspace: string,
    schedule: ScheduledTask,
    tick: number,
    {times, port}: {readonly times: CronTimes; readonly port: SchedulePort},
  ): Promise<BackfilledTick> {
    const submit = tickSubmit(schedule, tick, {workspace, times, trigger: 'backfill'});
    const {taskId, idempotentHit = false} = await port.submitTask(submit);
    if (idempotentHit) return {tick, result: 'already_ran', taskId};
    await stored.noteTask(this.options.store, workspace, schedule.scheduleId, {
      tick,
      taskId,
      trigger: 'backfill',
    });
    return {tick, result: 'submitted', taskId};
  }

  /** What became of its last ticks, newest first. */
  async listTicks(workspace: string, schedule: ScheduledTask, most: number): Promise<TickRecord[]> {
    return stored.lastTicks(this.options.store, workspace, schedule.scheduleId, most);
  }

  /** @returns the task of its that has not ended, if there is one. */
  async runningTask(workspace: string, {lastTaskId}: ScheduledTask): Promise<string | undefined> {
    if (lastTaskId === undefined) return undefined;
    return (await this.options.port.isTaskFinal(workspace, lastTaskId)) ? undefined : lastTaskId;
  }

  private async cancelRunning(workspace: string, schedule: ScheduledTask): Promise<void> {
    const taskId = await this.runningTask(workspace, schedule);
    if (taskId !== undefined) await this.options.port.cancelTask(workspace, taskId);
  }

  private now(): Promise<number> {
    return serverNowMs(this.options.store);
  }

  /** @param decide gives undefined where there is nothing to change. */
  private async change(
    workspace: string,
    externalId: string,
    ifVersion: number | undefined,
    decide: (
      from: ScheduledTask,
    ) => Promise<stored.ScheduleChange | undefined> | stored.ScheduleChange | undefined,
  ): Promise<ScheduledTask> {
    const {store} = this.options;
    for (let tried = 1; ; tried++) {
      const from = await this.getSchedule(workspace, externalId);
      if (ifVersion !== undefined && from.version !== ifVersion) throw versionConflict(from);
      const change = await decide(from);
      if (change === undefined) return from;
      const {verdict} = await stored.changeSchedule(store, workspace, change);
      if (verdict === 'changed') return this.getSchedule(workspace, externalId);
      if (verdict === 'conflict' && tried === TRIES) throw versionConflict(from);
    }
  }
}

/** Fields that decide when it fires. */
const TIMES = ['cronExpr', 'timezone', 'startsAt', 'endsAt', 'jitterMs'] as const;

/** Whether a change moves what is due. */
function isRetimed(from: ScheduledTask, {maxRuns}: ScheduleDefinition, changes: object): boolean {
  const changesTimes = TIMES.some(field => field in changes);
  switch (stateOf(from)) {
    case 'active':
      return changesTimes;
    case 'paused':
      return false;
    case 'finished':
      // One that has ended goes on if it may.
      return (changesTimes || 'maxRuns' in changes) && (maxRuns === undefined || from.runCount < maxRuns);
  }
}

function activated(from: ScheduledTask, definition: ScheduleDefinition, first: number) {
  const {tick, lookAt} = dueAt({scheduleId: from.scheduleId, jitterMs: definition.jitterMs}, first);
  return {
    lookAt,
    fields: {
      ...{
        active: '1',
        next_run_at: tick,
        pause_note: '',
        finished_reason: '',
        cancel_running: '',
        ending: '',
      },
      ...{held_until: '', reverted_tick: '', retry_at: '', retries: '', failure_streak: 0},
    },
  };
}

/** The definition as it is kept. @throws {ByError} for what does not go together. */
function checked(draft: ScheduleDefinition, now: number): ScheduleDefinition {
  const {agentId, agentType, sessionMode, overlapPolicy, startsAt, endsAt, jitterMs, cronExpr} = draft;
  if ((agentId === undefined) === (agentType === undefined))
    throw invalid('A schedule is for one agent.', 'Give either its agentId or its agentType.');
  if (sessionMode === 'sticky' && overlapPolicy === 'allow')
    throw invalid(
      'One session for all ticks and overlap "allow" do not go together: a session runs one task at a time.',
      'Choose overlap skip, queue or cancel, or a fresh session for each tick.',
    );
  if (startsAt !== undefined && endsAt !== undefined && endsAt <= startsAt)
    throw invalid('It would end before it starts.', 'Let it end later.');
  const times = cronTimes(cronExpr, draft.timezone);
  if (times.next(now) === null) throw neverFires(cronExpr);
  const shortest = jitterMs === 0 ? Infinity : shortestInterval(times, now);
  if (jitterMs >= shortest)
    throw invalid(
      `A jitter of ${jitterMs} ms is not below its shortest interval, ${shortest} ms.`,
      'Make the jitter smaller.',
    );
  return {...draft, cronExpr: times.text, timezone: times.timeZone};
}

/** @throws {ByError} INVALID_INPUT if it would end before. */
function requireFirst(definition: ScheduleDefinition, now: number): number {
  const times = cronTimes(definition.cronExpr, definition.timezone);
  const first = firstTick(definition, times, now);
  if (first !== undefined) return first;
  throw invalid(
    'It would end before its first tick.',
    `Its times are "${times.text}" in ${times.timeZone}; let it end later.`,
  );
}

function firstTick(
  {startsAt = 0, endsAt = Infinity}: Pick<ScheduleDefinition, 'startsAt' | 'endsAt'>,
  times: CronTimes,
  now: number,
): number | undefined {
  const tick = times.next(Math.max(now, startsAt - 1));
  return tick === null || tick > endsAt ? undefined : tick;
}

function shortestInterval(times: CronTimes, from: number): number {
  let shortest = Infinity;
  let tick = times.next(from);
  for (let i = 0; i < MEASURED_TICKS && tick !== null; i++) {
    const following = times.next(tick);
    if (following !== null) shortest = Math.min(shortest, following - tick);
    tick = following;
  }
  return shortest;
}

function ticksWithin(
  times: CronTimes,
  {from, to, limit}: {readonly from: number; readonly to: number; readonly limit: number},
): {readonly due: readonly number[]; readonly hasMore: boolean} {
  if (to < from)
    throw invalid(
      'The time to fill ends before it begins, or has not come yet.',
      'Let --from be before --to, and before now.',
    );
  const due: number[] = [];
  let tick = times.next(from - 1);
  for (
    ;
    tick !== null && tick <= to && due.length < Math.min(limit, MOST_BACKFILLED);
    tick = times.next(tick)
  )
    due.push(tick);
  return {due, hasMore: tick !== null && tick <= to};
}

function patched(from: ScheduledTask, changes: Readonly<Record<string, unknown>>): ScheduleDefinition {
  const {taskDefaults, ...fields} = changes;
  const before = definitionOf(from);
  const draft = {
    ...before,
    // Naming one kind of agent takes the other one's place.
    agentId: 'agentType' in changes ? null : before.agentId,
    agentType: 'agentId' in changes ? null : before.agentType,
    ...fields,
    taskDefaults: {...before.taskDefaults, ...(taskDefaults as object | undefined)},
  };
  return Object.fromEntries(
    Object.entries(draft).filter(([, value]) => value !== null && value !== undefined),
  ) as unknown as ScheduleDefinition;
}

const withoutUndefined = (value: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined));

const isSame = (found: ScheduledTask, definition: ScheduleDefinition): boolean =>
  sorted(definitionOf(found)) === sorted(definition);

const sorted = (definition: ScheduleDefinition): string =>
  JSON.stringify(
    Object.entries(JSON.parse(writeRecord(ScheduleDefinition, definition)) as object).sort(([a], [b]) =>
      a < b ? -1 : 1,
    ),
  );

const invalid = (message: string, hint: string) => new ByError('INVALID_INPUT', message, {hint});

const versionConflict = ({externalId, version}: ScheduledTask) =>
  new ByError('VERSION_CONFLICT', `"${externalId}" was changed meanwhile; it is at version ${version}.`, {
    hint: 'Look at it again, then change what is there now.',
    next: [`by schedule show ${externalId}`],
    details: {version},
  });

const ended = ({externalId, finishedReason}: ScheduledTask, what: string) =>
  new ByError(
    'STATE_CONFLICT',
    `"${externalId}" has ended (${finishedReason ?? 'ends_at'}), so it can not be ${what}.`,
    {
      hint: 'Give it a later end or more runs with `by schedule update`.',
      details: {actual: 'finished'},
    },
  );
