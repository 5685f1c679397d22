/** Schedules in Redis: every step of theirs is one script on the keys of one workspace. */
import {
  readSchedule,
  readTick,
  ScheduleDefinition,
  ScheduleEnd,
  type ScheduledTask,
  type TickRecord,
} from '../protocol/orchestration/schedule.js';
import {createScheduleKeys} from '../protocol/orchestration/schedule-keys.js';
import {createRunKeys} from '../protocol/orchestration/keys.js';
import {readRecord, writeRecord} from '../protocol/orchestration/record.js';
import {defineScript, flag, integer, texts} from './script.js';
import type {Store} from './store.js';

const keysOf = (store: Store) => createScheduleKeys({prefix: store.keys.prefix});

const RETRY = {retryForMs: 5000};
/** Of the ticks of a schedule so many are remembered. */
const KEPT_TICKS = 1000;

const text = (raw: unknown): string => {
  if (typeof raw !== 'string') throw new TypeError(`a script answered ${typeof raw} where text was due`);
  return raw;
};

const createScript = defineScript({
  file: 'orch-sched-create.lua',
  keys: ['name', 'schedule', 'all', 'due'],
  args: ['id', 'document', 'active', 'nextRunAt', 'lookAt'],
  reply: text,
});

export interface NewSchedule {
  readonly scheduleId: string;
  readonly definition: ScheduleDefinition;
  readonly active: boolean;
  /** Its first tick, and when to look at it: Unix milliseconds. Undefined for a paused one. */
  readonly first: {readonly tick: number; readonly lookAt: number} | undefined;
}

/** @returns the id behind its name: another one if the name was taken. */
export function createSchedule(
  store: Store,
  workspace: string,
  {scheduleId, definition, active, first}: NewSchedule,
): Promise<string> {
  const keys = keysOf(store);
  return createScript(
    store.commands,
    {
      keys: {
        name: keys.scheduleName(workspace, definition.externalId),
        schedule: keys.schedule(workspace, scheduleId),
        all: keys.schedules(workspace),
        due: keys.schedulesDue(workspace),
      },
      args: {
        id: scheduleId,
        document: writeRecord(ScheduleDefinition, definition),
        active: active ? '1' : '0',
        nextRunAt: first?.tick ?? '',
        lookAt: first?.lookAt ?? '',
      },
    },
    RETRY,
  );
}

/** @returns undefined if there is none of this id. */
export async function readScheduleById(
  store: Store,
  workspace: string,
  scheduleId: string,
): Promise<ScheduledTask | undefined> {
  const key = keysOf(store).schedule(workspace, scheduleId);
  return readSchedule(await store.commands.run(redis => redis.hgetall(key), RETRY));
}

/** As it was when the ticks under way were won. */
export async function readFiringSchedule(
  store: Store,
  workspace: string,
  scheduleId: string,
): Promise<ScheduledTask | undefined> {
  const key = keysOf(store).schedule(workspace, scheduleId);
  const hash = await store.commands.run(redis => redis.hgetall(key), RETRY);
  const doc = hash['firing_doc'] ?? hash['doc'];
  return readSchedule({...hash, ...(doc !== undefined && {doc})});
}

/** @returns undefined if nothing has this name. */
export async function findSchedule(
  store: Store,
  workspace: string,
  externalId: string,
): Promise<ScheduledTask | undefined> {
  const key = keysOf(store).scheduleName(workspace, externalId);
  const id = await store.commands.run(redis => redis.get(key), RETRY);
  return id === null ? undefined : readScheduleById(store, workspace, id);
}

/** All of a workspace, oldest first. */
export async function listSchedules(store: Store, workspace: string): Promise<ScheduledTask[]> {
  const all = keysOf(store).schedules(workspace);
  const ids = await store.commands.run(redis => redis.zrange(all, '0', '-1'), RETRY);
  const found = await Promise.all(ids.map(id => readScheduleById(store, workspace, id)));
  return found.filter(schedule => schedule !== undefined);
}

const changeScript = defineScript({
  file: 'orch-sched-change.lua',
  keys: ['schedule', 'due', 'firing'],
  args: ['id', 'version', 'lookAt', 'stopsFiring'],
  reply: raw => {
    const [verdict = '', version = ''] = texts(raw);
    return {verdict: verdict as 'changed' | 'conflict' | 'gone', version: Number(version)};
  },
});

export interface ScheduleChange {
  /** As it was read; what people changed since is not overwritten. */
  readonly from: ScheduledTask;
  /** Set where the definition changes. */
  readonly definition?: ScheduleDefinition;
  /** Fields of the hash; '' takes one away. */
  readonly fields?: Readonly<Record<string, string | number>>;
  /** When to look at it: Unix milliseconds. */
  readonly lookAt: number | 'never' | 'as before';
  /** Ticks under way that are not submitted yet are given up. */
  readonly stopsFiring?: boolean;
}

/** Change a schedule as a person wants it. @returns its new version, or why nothing was changed. */
export function changeSchedule(
  store: Store,
  workspace: string,
  {from, definition, fields = {}, lookAt, stopsFiring = false}: ScheduleChange,
) {
  const keys = keysOf(store);
  const pairs = Object.entries({
    ...fields,
    ...(definition && {doc: writeRecord(ScheduleDefinition, definition)}),
  });
  return changeScript(store.commands, {
    keys: {
      schedule: keys.schedule(workspace, from.scheduleId),
      due: keys.schedulesDue(workspace),
      firing: keys.schedulesFiring(workspace),
    },
    args: {
      id: from.scheduleId,
      version: from.version,
      lookAt: lookAt === 'as before' ? '=' : lookAt === 'never' ? '' : lookAt,
      stopsFiring: stopsFiring ? '1' : '0',
    },
    moreArgs: pairs.flat(),
  });
}

const deleteScript = defineScript({
  file: 'orch-sched-delete.lua',
  keys: ['schedule', 'name', 'all', 'due', 'firing', 'ticks'],
  args: ['id'],
  reply: flag,
});

/** @returns false if it was gone. */
export function deleteSchedule(
  store: Store,
  workspace: string,
  {scheduleId, externalId}: ScheduledTask,
): Promise<boolean> {
  const keys = keysOf(store);
  return deleteScript(
    store.commands,
    {
      keys: {
        schedule: keys.schedule(workspace, scheduleId),
        name: keys.scheduleName(workspace, externalId),
        all: keys.schedules(workspace),
        due: keys.schedulesDue(workspace),
        firing: keys.schedulesFiring(workspace),
        ticks: keys.scheduleTicks(workspace, scheduleId),
      },
      args: {id: scheduleId},
    },
    RETRY,
  );
}

/** @param now Unix milliseconds by Redis's clock. @returns ids of schedules to look at, the most overdue first. */
export function dueSchedules(store: Store, workspace: string, now: number, most: number): Promise<string[]> {
  const key = keysOf(store).schedulesDue(workspace);
  return store.commands.run(redis => redis.zrangebyscore(key, '-inf', now, 'LIMIT', 0, most), RETRY);
}

/** Look at a due schedule later: what can not be dealt with now must not stand before what can. */
export async function lookLater(
  store: Store,
  workspace: string,
  scheduleId: string,
  at: number,
): Promise<void> {
  const key = keysOf(store).schedulesDue(workspace);
  await store.commands.run(redis => redis.zadd(key, 'XX', 'GT', at, scheduleId), RETRY);
}

/** @returns ids of schedules whose ticks somebody was to submit, and did not in time. */
export function abandonedSchedules(
  store: Store,
  workspace: string,
  now: number,
  most: number,
): Promise<string[]> {
  const key = keysOf(store).schedulesFiring(workspace);
  return store.commands.run(redis => redis.zrangebyscore(key, '-inf', now, 'LIMIT', 0, most), RETRY);
}

const advanceScript = defineScript({
  file: 'orch-sched-advance.lua',
  keys: ['schedule', 'due', 'firing', 'ticks'],
  args: [
    ...(['id', 'nextRunAt', 'version', 'owner', 'leaseMs', 'firing', 'next', 'lookAt', 'ending'] as const),
    ...(['missed', 'missedFrom', 'missedUntil', 'reason', 'cap'] as const),
  ],
  reply: raw => raw === 'won',
});

export interface Advance {
  /** As it was read. */
  readonly from: ScheduledTask;
  /** Who submits the ticks; names one wake-up of one replica. */
  readonly owner: string;
  /** How long nobody else may take them over. */
  readonly leaseMs: number;
  /** Ticks to submit, oldest first. */
  readonly fire: readonly number[];
  /** The tick after these, and when to look at it. */
  readonly next: {readonly tick: number; readonly lookAt: number} | undefined;
  /** Ticks that are left out. */
  readonly missed:
    | {readonly count: number; readonly from: number; readonly until: number; readonly reason: string}
    | undefined;
  /** Why there is no next one, where there is none. */
  readonly ending: 'ends_at' | 'max_runs';
}

/** Let a schedule go on. @returns whether this caller won its ticks. */
export function advanceSchedule(
  store: Store,
  workspace: string,
  {from, owner, leaseMs, fire, next, missed, ending}: Advance,
): Promise<boolean> {
  return advanceScript(store.commands, {
    keys: firingKeys(store, workspace, from.scheduleId),
    args: {
      ...{id: from.scheduleId, nextRunAt: from.nextRunAt ?? '', version: from.version},
      ...{owner, leaseMs, firing: fire.length === 0 ? '' : JSON.stringify(fire)},
      ...{next: next?.tick ?? '', lookAt: next?.lookAt ?? '', ending: next === undefined ? ending : ''},
      ...{missed: missed?.count ?? 0, missedFrom: missed?.from ?? '', missedUntil: missed?.until ?? ''},
      ...{reason: missed?.reason ?? '', cap: KEPT_TICKS},
    },
  });
}

const firingKeys = (store: Store, workspace: string, scheduleId: string, keys = keysOf(store)) => ({
  schedule: keys.schedule(workspace, scheduleId),
  due: keys.schedulesDue(workspace),
  firing: keys.schedulesFiring(workspace),
  ticks: keys.scheduleTicks(workspace, scheduleId),
});

export type StrikeVerdict = 'go' | 'lost' | 'gone' | 'stop' | 'cancel';

const strikeScript = defineScript({
  file: 'orch-sched-strike.lua',
  before: ['orch-sched-failure.lua'],
  keys: ['schedule', 'due', 'firing', 'ticks'],
  args: [
    ...(['id', 'owner', 'tick', 'outcome', 'taskId', 'reason', 'leaseMs'] as const),
    ...(['pauseAfter', 'maxRuns', 'cap', 'resets'] as const),
  ],
  reply: raw => text(raw) as StrikeVerdict,
});

export interface Strike {
  readonly owner: string;
  readonly leaseMs: number;
  readonly tick: number;
  readonly outcome: 'submitted' | 'skipped_overlap' | 'failed';
  readonly taskId?: string;
  readonly reason?: string;
  /** Of a submit: whether it ends a row of failures. */
  readonly resets?: boolean;
}

/** Strike out a tick that was dealt with. @returns whether to go on with the others. */
export function strikeTick(
  store: Store,
  workspace: string,
  schedule: ScheduledTask,
  {owner, leaseMs, tick, outcome, taskId = '', reason = '', resets = true}: Strike,
): Promise<StrikeVerdict> {
  return strikeScript(store.commands, {
    keys: firingKeys(store, workspace, schedule.scheduleId),
    args: {
      ...{id: schedule.scheduleId, owner, tick, outcome, taskId, reason, leaseMs},
      ...{pauseAfter: schedule.pauseAfterFailures, maxRuns: schedule.maxRuns ?? 0, cap: KEPT_TICKS},
      resets: resets ? '1' : '0',
    },
  });
}

/** An end as it stands in Redis; undefined where it can not be read. */
export interface WaitingEnd {
  readonly member: string;
  readonly end: ScheduleEnd | undefined;
}

/** Ends of schedules' tasks that are to be counted, the oldest first. */
export async function waitingEnds(store: Store, workspace: string, most: number): Promise<WaitingEnd[]> {
  const key = createRunKeys({prefix: store.keys.prefix}).orchScheduleEnds(workspace);
  const members = await store.commands.run(redis => redis.zrange(key, '0', String(most - 1)), RETRY);
  return members.map(member => ({member, end: readRecord(ScheduleEnd, member)}));
}

const endedScript = defineScript({
  file: 'orch-sched-ended.lua',
  before: ['orch-sched-failure.lua'],
  keys: ['schedule', 'due', 'ended', 'ticks'],
  args: ['id', 'member', 'isOk', 'tick', 'taskId', 'reason', 'pauseAfter', 'cap'],
  reply: raw => text(raw) as 'known' | 'gone' | 'counted' | 'paused',
});

/**
 * Count an end at its schedule, once, whoever else tries.
 * @param pauseAfter failures in a row after which the schedule is paused; 0: never.
 */
export function countEnd(store: Store, workspace: string, {member, end}: WaitingEnd, pauseAfter: number) {
  const {schedule, due, ticks} = firingKeys(store, workspace, end?.scheduleId ?? '');
  const ended = createRunKeys({prefix: store.keys.prefix}).orchScheduleEnds(workspace);
  const {scheduleId: id = '', isOk = false, tick = 0, taskId = '', reason = ''} = end ?? {};
  return endedScript(
    store.commands,
    {
      keys: {schedule, due, ended, ticks},
      args: {id, member, isOk: isOk ? '1' : '0', tick, taskId, reason, pauseAfter, cap: KEPT_TICKS},
    },
    RETRY,
  );
}

const revertScript = defineScript({
  file: 'orch-sched-revert.lua',
  keys: ['schedule', 'due', 'firing'],
  args: ['id', 'owner', 'tick', 'nextRunAt', 'cause', 'waitMs', 'longestMs'],
  reply: integer,
});

export interface Revert {
  readonly owner: string;
  readonly tick: number;
  /** Of the schedule as it went on. */
  readonly nextRunAt: number | undefined;
  /** `failed`: it could not be submitted. `held`: it waits for the task before it. */
  readonly cause: 'failed' | 'held';
  /** Until the next try; doubled with each failure, up to `longestMs`. */
  readonly waitMs: number;
  readonly longestMs: number;
}

/** Put a schedule back to a tick. @returns false if it was changed meanwhile, and the tick goes with what was. */
export async function revertSchedule(
  store: Store,
  workspace: string,
  scheduleId: string,
  {owner, tick, nextRunAt, cause, waitMs, longestMs}: Revert,
): Promise<boolean> {
  const {schedule, due, firing} = firingKeys(store, workspace, scheduleId);
  const nextTry = await revertScript(store.commands, {
    keys: {schedule, due, firing},
    args: {id: scheduleId, owner, tick, nextRunAt: nextRunAt ?? '', cause, waitMs, longestMs},
  });
  return nextTry > 0;
}

const takeScript = defineScript({
  file: 'orch-sched-take.lua',
  keys: ['schedule', 'firing', 'ticks'],
  args: ['id', 'owner', 'leaseMs', 'tooOldMs', 'cap'],
  reply: raw => (text(raw) === '' ? [] : (JSON.parse(text(raw)) as number[])),
});

/** Take over the ticks a replica left. @returns none if somebody else was faster, or the schedule is paused. */
export function takeTicks(
  store: Store,
  workspace: string,
  scheduleId: string,
  {owner, leaseMs, tooOldMs}: {readonly owner: string; readonly leaseMs: number; readonly tooOldMs: number},
): Promise<number[]> {
  const {schedule, firing, ticks} = firingKeys(store, workspace, scheduleId);
  return takeScript(store.commands, {
    keys: {schedule, firing, ticks},
    args: {id: scheduleId, owner, leaseMs, tooOldMs, cap: KEPT_TICKS},
  });
}

const noteScript = defineScript({
  file: 'orch-sched-note.lua',
  keys: ['schedule', 'ticks'],
  args: ['tick', 'taskId', 'trigger', 'cap'],
  reply: flag,
});

/** Note a task a person started out of its turn. */
export async function noteTask(
  store: Store,
  workspace: string,
  scheduleId: string,
  {tick, taskId, trigger}: {readonly tick: number; readonly taskId: string; readonly trigger: string},
): Promise<void> {
  const {schedule, ticks} = firingKeys(store, workspace, scheduleId);
  await noteScript(store.commands, {
    keys: {schedule, ticks},
    args: {tick, taskId, trigger, cap: KEPT_TICKS},
  });
}

/** What became of its last ticks, newest first. */
export async function lastTicks(
  store: Store,
  workspace: string,
  scheduleId: string,
  most: number,
): Promise<TickRecord[]> {
  const key = keysOf(store).scheduleTicks(workspace, scheduleId);
  const entries = await store.commands.run(redis => redis.xrevrange(key, '+', '-', 'COUNT', most), RETRY);
  return entries.flatMap(([, pairs]) => {
    const fields: Record<string, string> = {};
    for (let i = 0; i < pairs.length; i += 2) fields[pairs[i] ?? ''] = pairs[i + 1] ?? '';
    return readTick(fields) ?? [];
  });
}

export interface ScheduleCounts {
  readonly active: number;
  readonly paused: number;
  readonly finished: number;
  /** Should have been looked at for longer than `lateMs`. */
  readonly late: number;
  /** The one that fires next. */
  readonly next: {readonly externalId: string; readonly at: number} | undefined;
}

/** Schedules in numbers, without their prompts. @param now Unix milliseconds by Redis's clock. */
export async function countSchedules(
  store: Store,
  workspace: string,
  {now, lateMs}: {readonly now: number; readonly lateMs: number},
): Promise<ScheduleCounts> {
  const keys = keysOf(store);
  const due = keys.schedulesDue(workspace);
  const [ids, late, first] = await store.commands.run(
    redis =>
      Promise.all([
        redis.zrange(keys.schedules(workspace), '0', '-1'),
        redis.zcount(due, '-inf', now - lateMs),
        redis.zrangebyscore(due, now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1),
      ]),
    RETRY,
  );
  const states = await store.commands.run(
    redis =>
      Promise.all(ids.map(id => redis.hmget(keys.schedule(workspace, id), 'active', 'finished_reason'))),
    RETRY,
  );
  const finished = states.filter(([, reason]) => reason !== null && reason !== undefined).length;
  const active = states.filter(([isActive]) => isActive === '1').length;
  const [id, score] = first;
  const next = id === undefined ? undefined : await readScheduleById(store, workspace, id);
  return {
    ...{active, finished, paused: states.length - active - finished, late},
    next: next && {externalId: next.externalId, at: Number(score)},
  };
}

/** Names of the schedules of a workspace, for whoever mistypes one. */
export async function scheduleNames(store: Store, workspace: string): Promise<string[]> {
  return (await listSchedules(store, workspace)).map(({externalId}) => externalId);
}
