/**
 * When a cron expression fires, told without any cron library: every minute of the years is looked at, with the offsets that
 * Intl knows, by the rule table of docs/schedules.md.
 */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A stretch of time in which a zone keeps one offset. */
interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly offset: number;
}

export interface ZoneClock {
  readonly stretches: readonly Stretch[];
}

/** @param from,to Unix milliseconds, whole hours. */
export function zoneClock(timeZone: string, from: number, to: number): ZoneClock {
  const format = new Intl.DateTimeFormat('sv-SE', {timeZone, dateStyle: 'short', timeStyle: 'medium'});
  const offsetAt = (at: number) => Date.parse(`${format.format(at).replace(' ', 'T')}Z`) - at;
  const stretches: Stretch[] = [];
  let start = from;
  let offset = offsetAt(from);
  for (let hour = from; hour < to; hour += HOUR) {
    if (offsetAt(hour + HOUR) === offset) continue;
    let change = hour;
    while (offsetAt(change) === offset) change += MINUTE;
    stretches.push({from: start, to: change, offset});
    start = change;
    offset = offsetAt(change);
  }
  return {stretches: [...stretches, {from: start, to, offset}]};
}

/** The moments at which clocks change. */
export const transitions = ({stretches}: ZoneClock): number[] => stretches.slice(1).map(({from}) => from);

export interface Fields {
  readonly minute: readonly number[];
  readonly hour: readonly number[];
  readonly day?: readonly number[];
  readonly month?: readonly number[];
  /** 0 is Sunday. */
  readonly weekday?: readonly number[];
  /** A job at one time of day. */
  readonly isFixed: boolean;
}

const isDay = ({day, month, weekday}: Fields, date: Date): boolean => {
  if (month !== undefined && !month.includes(date.getUTCMonth() + 1)) return false;
  const ofMonth = day?.includes(date.getUTCDate());
  const ofWeek = weekday?.includes(date.getUTCDay());
  return ofMonth === undefined && ofWeek === undefined ? true : ofMonth === true || ofWeek === true;
};

/** Every tick after a moment, up to another one, oldest first. */
export function ticksOf(fields: Fields, clock: ZoneClock, after: number, upTo: number): number[] {
  const ticks = fields.isFixed
    ? fixedTicks(fields, clock)
    : intervalTicks(fields, clipped(clock, after, upTo));
  return ticks.filter(at => at > after && at <= upTo);
}

const clipped = ({stretches}: ZoneClock, after: number, upTo: number): ZoneClock => ({
  stretches: stretches
    .filter(({from, to}) => to > after && from <= upTo)
    .map(({from, to, offset}) => ({from: Math.max(from, after), to: Math.min(to, upTo + MINUTE), offset})),
});

function intervalTicks(fields: Fields, {stretches}: ZoneClock): number[] {
  const ticks: number[] = [];
  const isMinute = Array.from({length: 60}, (_, i) => fields.minute.includes(i));
  const isHour = Array.from({length: 24}, (_, i) => fields.hour.includes(i));
  for (const {from, to, offset} of stretches) {
    let day = NaN;
    let fits = false;
    for (let at = from; at < to; at += MINUTE) {
      const local = at + offset;
      const today = Math.floor(local / (24 * HOUR));
      if (today !== day) [day, fits] = [today, isDay(fields, new Date(local))];
      if (!fits) continue;
      const minutes = Math.floor(local / MINUTE);
      if (isMinute[minutes % 60] === true && isHour[Math.floor(minutes / 60) % 24] === true) ticks.push(at);
    }
  }
  return ticks;
}

function fixedTicks(fields: Fields, {stretches}: ZoneClock): number[] {
  const [first, last] = [stretches[0]!, stretches.at(-1)!];
  const timeOfDay = fields.hour[0]! * HOUR + fields.minute[0]! * MINUTE;
  const ticks: number[] = [];
  for (
    let day = Math.floor((first.from + first.offset) / (24 * HOUR));
    day * 24 * HOUR < last.to + last.offset;
    day++
  ) {
    if (!isDay(fields, new Date(day * 24 * HOUR))) continue;
    const local = day * 24 * HOUR + timeOfDay;
    const shown = stretches.find(({from, to, offset}) => local - offset >= from && local - offset < to);
    // Where no stretch shows it, the next one to begin ends the gap.
    const gap = stretches.findIndex(
      ({from, offset}, i) => i > 0 && local < from + offset && local >= from + stretches[i - 1]!.offset,
    );
    if (shown !== undefined) ticks.push(local - shown.offset);
    else if (gap !== -1) ticks.push(stretches[gap]!.from);
  }
  return ticks;
}
