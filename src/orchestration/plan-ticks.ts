/** Which of the ticks that are due fire, and which are left out: a pure decision on one schedule at one moment. */
import {createHash} from 'node:crypto';
import type {ScheduledTask} from '../protocol/orchestration/schedule.js';

/** Ticks one wake-up fires at most. */
export const SLICE = 100;
/** Ticks that wait for the one before them, at most; older ones are left out. */
const MOST_HELD = 100;
/** Beyond so many left out they are no longer counted one by one. */
const MOST_COUNTED = 10_000;
/** A task's idempotency key lives for seven days: a tick whose submit failed is not tried again for longer. */
export const MOST_RETRIED_MS = 6 * 86_400_000;

export type Planned = Pick<
  ScheduledTask,
  | 'scheduleId'
  | 'nextRunAt'
  | 'missedPolicy'
  | 'catchupWindowMs'
  | 'overlapPolicy'
  | 'jitterMs'
  | 'endsAt'
  | 'maxRuns'
  | 'runCount'
  | 'revertedTick'
  | 'heldUntil'
>;

export interface TickPlan {
  /** Oldest first. */
  readonly fire: readonly number[];
  /** What is due after these; it may be due already. Undefined: there is none. */
  readonly next: number | undefined;
  readonly missed:
    | {readonly count: number; readonly from: number; readonly until: number; readonly reason: string}
    | undefined;
  /** Why there is no next one. */
  readonly ending: 'ends_at' | 'max_runs';
}

export interface PlanContext {
  /** Unix milliseconds by Redis's clock. */
  readonly now: number;
  /** A tick no older than this is on time. */
  readonly graceMs: number;
  /** The tick after a moment; null if there is none. */
  readonly next: (after: number) => number | null;
}

/** How late a tick fires: the same for everybody who asks, spread over `jitterMs`. */
export function jitterOf(scheduleId: string, tick: number, jitterMs: number): number {
  if (jitterMs === 0) return 0;
  const digest = createHash('sha256').update(`${scheduleId}:${tick}`).digest();
  return digest.readUInt32BE(0) % (jitterMs + 1);
}

/** What is to be done with a schedule whose next tick may be due. Fires nothing and stays where it is if it is not. */
export function planTicks(schedule: Planned, {now, graceMs, next}: PlanContext): TickPlan {
  const {endsAt = Infinity} = schedule;
  const after = (tick: number) => {
    const found = next(tick);
    return found === null || found > endsAt ? undefined : found;
  };
  const isDue = (tick: number) => tick + jitterOf(schedule.scheduleId, tick, schedule.jitterMs) <= now;
  const first = schedule.nextRunAt;
  const nothing = {fire: [], missed: undefined, ending: 'ends_at' as const};
  if (first === undefined || !isDue(first)) return {...nothing, next: first};
  if (first > endsAt) return {...nothing, next: undefined};
  const room = schedule.maxRuns === undefined ? Infinity : schedule.maxRuns - schedule.runCount;
  if (room <= 0) return {...nothing, next: undefined, ending: 'max_runs'};

  const dropped = new Dropped();
  const from = skipOld(schedule, {now, first, after, dropped});
  const {fire, next: following} =
    from === undefined
      ? {fire: [], next: undefined}
      : choose(schedule, {now, graceMs, from, after, isDue, dropped});
  // The last one to be submitted ends the schedule; until then one that is left out leaves its place to another.
  return {...nothing, fire: fire.slice(0, room), next: fire[room] ?? following, missed: dropped.summary()};
}

interface Walk {
  readonly now: number;
  readonly after: (tick: number) => number | undefined;
  readonly dropped: Dropped;
}

/** Passes over what is too old to fire. @returns the first tick that is not. */
function skipOld(
  schedule: Planned,
  {now, first, after, dropped}: Walk & {readonly first: number},
): number | undefined {
  const isHeld = (tick: number) => tick <= (schedule.heldUntil ?? -Infinity);
  const windowOf = (tick: number) =>
    tick === schedule.revertedTick
      ? Math.min(schedule.catchupWindowMs, MOST_RETRIED_MS)
      : schedule.catchupWindowMs;
  let tick: number | undefined = first;
  for (let seen = 0; tick !== undefined && !isHeld(tick) && tick < now - windowOf(tick); seen++) {
    dropped.add(tick, 'older than the catch-up window');
    tick = after(seen < MOST_COUNTED ? tick : Math.max(tick, now - schedule.catchupWindowMs - 1));
  }
  return tick;
}

interface Choice extends Walk {
  readonly graceMs: number;
  readonly from: number;
  readonly isDue: (tick: number) => boolean;
}

function choose(schedule: Planned, choice: Choice): Pick<TickPlan, 'fire' | 'next'> {
  if (schedule.overlapPolicy === 'queue') return chooseQueued(schedule, choice);
  switch (schedule.missedPolicy) {
    case 'all':
      return slice(choice);
    case 'once':
      return latest(choice);
    case 'skip':
      return onTime(schedule, choice);
  }
}

/** As many as one wake-up fires; the others stay due. */
function slice({from, after, isDue}: Choice): Pick<TickPlan, 'fire' | 'next'> {
  const fire: number[] = [];
  let tick: number | undefined = from;
  for (; tick !== undefined && isDue(tick) && fire.length < SLICE; tick = after(tick)) fire.push(tick);
  return {fire, next: tick};
}

/** Of all that is due the last. */
function latest(choice: Choice): Pick<TickPlan, 'fire' | 'next'> {
  const {from, after, isDue, dropped} = choice;
  let last: number | undefined;
  let tick: number | undefined = from;
  for (let seen = 1; tick !== undefined && isDue(tick); seen++) {
    if (last !== undefined) dropped.add(last, 'a later one fired');
    last = tick;
    tick = after(seen === MOST_COUNTED ? Math.max(tick, shortlyBeforeLast(choice)) : tick);
  }
  return {fire: last === undefined ? [] : [last], next: tick};
}

/** A moment not long before the last tick that is due, found from the end. */
function shortlyBeforeLast({now, from, after, isDue}: Choice): number {
  for (let back = 3_600_000; now - back > from; back *= 2) {
    const tick = after(now - back);
    if (tick !== undefined && isDue(tick)) return now - back;
  }
  return from;
}

/** What is on time, and what was and could not be submitted. */
function onTime(
  {scheduleId, jitterMs, revertedTick}: Planned,
  choice: Choice,
): Pick<TickPlan, 'fire' | 'next'> {
  const {now, graceMs, from, after, isDue, dropped} = choice;
  const fire: number[] = [];
  let tick: number | undefined = from;
  for (let seen = 1; tick !== undefined && isDue(tick) && fire.length < SLICE; seen++) {
    const isLate = tick + jitterOf(scheduleId, tick, jitterMs) < now - graceMs;
    if (isLate && tick !== revertedTick) dropped.add(tick, 'too late');
    else fire.push(tick);
    tick = after(seen === MOST_COUNTED ? Math.max(tick, now - graceMs - jitterMs - 1) : tick);
  }
  return {fire, next: tick};
}

/**
 * One at a time: each waits until the task before it has ended. Those that wait are not late; what became due while
 * nobody looked is.
 */
function chooseQueued(schedule: Planned, choice: Choice): Pick<TickPlan, 'fire' | 'next'> {
  const {from, after, isDue, dropped} = choice;
  const held: number[] = [];
  let tick: number | undefined = from;
  for (; tick !== undefined && isDue(tick) && tick <= (schedule.heldUntil ?? -Infinity); tick = after(tick)) {
    held.push(tick);
    if (held.length > MOST_HELD) dropped.add(held.shift() ?? tick, 'too many wait');
  }
  const rest =
    tick === undefined || !isDue(tick)
      ? {fire: [], next: tick}
      : choose({...schedule, overlapPolicy: 'allow'}, {...choice, from: tick});
  const waiting = [...held, ...rest.fire];
  return {fire: waiting.slice(0, 1), next: waiting[1] ?? rest.next};
}

/** Ticks that are left out, in few words. */
class Dropped {
  private count = 0;
  private from = Infinity;
  private until = -Infinity;
  private reason = '';

  add(tick: number, reason: string): void {
    this.count++;
    this.from = Math.min(this.from, tick);
    this.until = Math.max(this.until, tick);
    this.reason = reason;
  }

  summary(): TickPlan['missed'] {
    const {count, from, until, reason} = this;
    return count === 0 ? undefined : {count, from, until, reason};
  }
}
