/**
 * When a cron expression fires. Times are whole minutes of the zone's clocks. When clocks change, a job at one time of day
 * fires once: at the end of the gap if its time does not exist, in the first pass if it comes twice. Intervals follow the
 * clocks: what does not exist is left out, what comes twice fires twice. docs/schedules.md shows it.
 */
import {Cron} from 'croner';
import {ByError} from '../errors.js';
import {parseCron, type CronExpression} from './cron-expression.js';
import {checkedTimeZone, localTime, offsetAt} from './time-zone.js';

/** What has no tick for so long has none. */
const NEVER_MS = 5 * 366 * 86_400_000;
/** No zone turns its clocks back further. */
const LONGEST_OVERLAP_MS = 3 * 3_600_000;

export interface CronTimes extends CronExpression {
  readonly timeZone: string;
  /** The first tick after a moment; null if there is none for five years. Unix milliseconds. */
  next(afterMs: number): number | null;
}

/** @throws {ByError} CRON_INVALID, TIMEZONE_INVALID. */
export function cronTimes(expression: string, timeZone: string): CronTimes {
  const parsed = parseCron(expression);
  const zone = checkedTimeZone(timeZone);
  const cron = new Cron(parsed.text, {mode: '5-part', timezone: zone, paused: true});
  return {
    ...parsed,
    timeZone: zone,
    next(afterMs) {
      const at = cron.nextRun(new Date(afterMs))?.getTime() ?? null;
      return at === null || at - afterMs > NEVER_MS ? null : at;
    },
  };
}

/**
 * The first tick after a moment.
 *
 * @param lenientTimezone take a blank or unknown zone for UTC, in place of refusing it.
 * @throws {ByError} CRON_INVALID, TIMEZONE_INVALID, CRON_NEVER_FIRES if there is none for five years.
 */
export function nextCronTime(
  expression: string,
  after: Date,
  timeZone: string,
  {lenientTimezone = false}: {readonly lenientTimezone?: boolean} = {},
): Date {
  const at = cronTimes(expression, lenientTimezone ? zoneOrUtc(timeZone) : timeZone).next(after.getTime());
  if (at === null) throw neverFires(expression);
  return new Date(at);
}

function zoneOrUtc(timeZone: string): string {
  try {
    return checkedTimeZone(timeZone);
  } catch {
    // Asked for: a zone that is none is UTC.
    return 'UTC';
  }
}

export const neverFires = (expression: string): ByError =>
  new ByError('CRON_NEVER_FIRES', `"${expression}" has no time within five years.`, {
    hint: 'Is there such a day in that month?',
  });

export interface TickPreview {
  readonly at: Date;
  /** What the clocks show, `2026-03-08 03:00 EDT`. */
  readonly local: string;
  /** The clocks change here. */
  readonly note?: 'gap' | 'overlap';
  /** The note in words. */
  readonly explanation?: string;
}

/**
 * The next ticks of an expression, and which of them a change of the clocks moves.
 *
 * @param n how many; default 10.
 * @throws {ByError} CRON_INVALID, TIMEZONE_INVALID, CRON_NEVER_FIRES.
 */
export function previewSchedule(
  expression: string,
  timeZone: string,
  {from = new Date(), n = 10}: {readonly from?: Date; readonly n?: number} = {},
): TickPreview[] {
  const times = cronTimes(expression, timeZone);
  const ticks: TickPreview[] = [];
  for (let after = from.getTime(); ticks.length < n;) {
    const at = times.next(after);
    if (at === null) break;
    ticks.push(previewTick(times, at));
    after = at;
  }
  if (ticks.length === 0 && n > 0) throw neverFires(expression);
  return ticks;
}

/** One tick as its zone's clocks show it. @param at Unix milliseconds. */
export function previewTick(times: CronTimes, at: number): TickPreview {
  const {year, month, day, hour, minute, zoneName} = localTime(at, times.timeZone);
  const local = `${year}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)} ${zoneName}`;
  return {at: new Date(at), local, ...noteOf(times, at, {hour, minute})};
}

const two = (value: number) => String(value).padStart(2, '0');
const clock = ({hour, minute}: {readonly hour: number; readonly minute: number}) =>
  `${two(hour)}:${two(minute)}`;

function noteOf(
  {fixedTime, timeZone}: CronTimes,
  at: number,
  shown: {readonly hour: number; readonly minute: number},
): Pick<TickPreview, 'note' | 'explanation'> {
  if (fixedTime !== null && clock(fixedTime) !== clock(shown))
    return {note: 'gap', explanation: `${clock(fixedTime)} does not exist, fires at the end of the gap`};
  const pass = passOf(at, timeZone);
  if (pass === undefined) return {};
  const explanation =
    fixedTime === null
      ? `${clock(shown)} comes twice, this is the ${pass} pass`
      : `${clock(shown)} comes twice, fires in the first pass`;
  return {note: 'overlap', explanation};
}

/** Which of two moments with the same local time this is; undefined if there is only one. */
function passOf(at: number, timeZone: string): 'first' | 'second' | undefined {
  const offset = offsetAt(at, timeZone);
  const before = offsetAt(at - LONGEST_OVERLAP_MS, timeZone);
  const after = offsetAt(at + LONGEST_OVERLAP_MS, timeZone);
  // Clocks that go back by d show a time again d later.
  if (after < offset && offsetAt(at + offset - after, timeZone) === after) return 'first';
  return before > offset && offsetAt(at - (before - offset), timeZone) === before ? 'second' : undefined;
}
