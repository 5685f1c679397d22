/** Time zones by their IANA names: what is one, and what its clocks show. */
import {ByError} from '../errors.js';
import {suggest} from '../nearest.js';

/** What clocks show at some moment. */
export interface LocalTime {
  readonly year: number;
  /** 1 to 12. */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
}

/**
 * @returns the name as the time zone database spells it.
 * @throws {ByError} TIMEZONE_INVALID for what is none; offsets too, because they know no summer time.
 */
export function checkedTimeZone(given: string): string {
  const name = given.trim();
  if (name === '') throw invalid('The time zone is empty.', 'Name one, for example Europe/Berlin or UTC.');
  if (/^(?:utc|gmt)?\s*[+-]\s*\d/i.test(name)) {
    throw invalid(
      `"${name}" is an offset, not a time zone: it knows no summer time.`,
      'Name the place, for example Europe/Berlin, or UTC.',
    );
  }
  try {
    const {timeZone} = new Intl.DateTimeFormat('en-US', {timeZone: name}).resolvedOptions();
    // Another name for the same zone stays as it was given.
    return timeZone.toLowerCase() === name.toLowerCase() ? timeZone : name;
  } catch {
    // Intl knows only that it is none; what may be meant we say.
    throw invalid(`"${name}" is not a time zone.`, nearestHint(name));
  }
}

function nearestHint(name: string): string {
  const zones = Intl.supportedValuesOf('timeZone');
  const place = name.split('/').at(-1)?.toLowerCase().replaceAll(' ', '_') ?? '';
  const ofPlace = zones.find(zone => zone.split('/').at(-1)?.toLowerCase() === place);
  const near = ofPlace ?? suggest(name, zones);
  return near === null ? 'Name one, for example Europe/Berlin or UTC.' : `Did you mean "${near}"?`;
}

const invalid = (message: string, hint: string) => new ByError('TIMEZONE_INVALID', message, {hint});

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat('en-US', {
    ...{timeZone, hourCycle: 'h23', timeZoneName: 'short'},
    ...{year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric'},
  });
  formats.set(timeZone, format);
  return format;
}

/** @param at Unix milliseconds. */
export function localTime(at: number, timeZone: string): LocalTime & {readonly zoneName: string} {
  const parts = new Map(
    formatOf(timeZone)
      .formatToParts(at)
      .map(({type, value}) => [type, value]),
  );
  const number = (type: Intl.DateTimeFormatPartTypes) => Number(parts.get(type));
  return {
    ...{year: number('year'), month: number('month'), day: number('day')},
    ...{hour: number('hour'), minute: number('minute')},
    zoneName: parts.get('timeZoneName') ?? timeZone,
  };
}

/** How far its clocks are ahead of UTC, in whole minutes as milliseconds. */
export function offsetAt(at: number, timeZone: string): number {
  const {year, month, day, hour, minute} = localTime(at, timeZone);
  return Date.UTC(year, month - 1, day, hour, minute) - Math.floor(at / 60_000) * 60_000;
}
