import {describe, expect, test} from 'vitest';
import {ByError} from '../../src/errors.js';
import {parseCron} from '../../src/orchestration/cron-expression.js';
import {cronTimes, nextCronTime, previewSchedule} from '../../src/orchestration/cron.js';
import {checkedTimeZone} from '../../src/orchestration/time-zone.js';
import {ticksOf, transitions, zoneClock, type Fields} from './brute-force-cron.js';
import fc from '../support/properties.js';

const FROM = Date.UTC(2025, 0, 1);
const TO = Date.UTC(2029, 0, 1);
const DAY = 86_400_000;

const ZONES = [
  'America/New_York',
  'Europe/London',
  'Europe/Berlin',
  'Australia/Sydney',
  'Australia/Lord_Howe',
  'America/Santiago',
  'Asia/Kathmandu',
  'Africa/Casablanca',
  'UTC',
];

const all = (from: number, to: number, by = 1) =>
  Array.from({length: Math.floor((to - from) / by) + 1}, (_, i) => from + i * by);
const every = {minute: all(0, 59), hour: all(0, 23)};

const fixed = (hour: number, minute: number): [string, Fields] => [
  `${minute} ${hour} * * *`,
  {hour: [hour], minute: [minute], isFixed: true},
];

/** Jobs at every hour clocks change anywhere, and what differs in kind. */
const EXPRESSIONS: readonly (readonly [string, Fields])[] = [
  ...[0, 1, 2, 3, 23].flatMap(hour => [fixed(hour, 0), fixed(hour, 15), fixed(hour, 30)]),
  ['* * * * *', {...every, isFixed: false}],
  ['*/20 * * * *', {...every, minute: all(0, 59, 20), isFixed: false}],
  ['30 * * * *', {...every, minute: [30], isFixed: false}],
  // Leaves the whole day of a gap out: what is of an interval and does not exist does not fire.
  ['*/20 2 * * *', {minute: all(0, 59, 20), hour: [2], isFixed: false}],
  ['0,30 1,2 * * *', {minute: [0, 30], hour: [1, 2], isFixed: false}],
  ['15 */2 * * *', {minute: [15], hour: all(0, 23, 2), isFixed: false}],
  ['10-50/20 0-3 * * mon-fri', {minute: [10, 30, 50], hour: all(0, 3), weekday: all(1, 5), isFixed: false}],
  ['0 9 1,15 * fri', {minute: [0], hour: [9], day: [1, 15], weekday: [5], isFixed: true}],
  ['30 2 * mar,nov 0', {minute: [30], hour: [2], month: [3, 11], weekday: [0], isFixed: true}],
  ['5 4 29 2 *', {minute: [5], hour: [4], day: [29], month: [2], isFixed: true}],
  ['0 0 * * 5-7', {minute: [0], hour: [0], weekday: [5, 6, 0], isFixed: true}],
];

describe.each(ZONES)('in %s, 2025 to 2028,', zone => {
  const clock = zoneClock(zone, FROM, TO);

  test('every expression fires where the rules say, around every change of the clocks', () => {
    const changes = transitions(clock);
    const isObserved = !['UTC', 'Asia/Kathmandu'].includes(zone);
    expect(changes.length).toBeGreaterThanOrEqual(isObserved ? 8 : 0);
    for (const [expression, fields] of EXPRESSIONS) {
      const times = cronTimes(expression, zone);
      // Days on each side, hours for those that fire often; where clocks never change, the end of February.
      const reach = fields.isFixed ? 3 * DAY : fields.hour.length > 4 ? DAY / 6 : DAY;
      const middles = isObserved ? changes : all(2025, 2028).map(year => Date.UTC(year, 2, 1));
      for (const middle of middles) {
        const [from, to] = [middle - reach, Math.min(middle + reach, TO - DAY)];
        const found: number[] = [];
        for (let at = times.next(from); at !== null && at <= to; at = times.next(at)) found.push(at);
        const expected = ticksOf(fields, clock, from, to);
        expect({expression, ticks: found.map(iso)}).toEqual({expression, ticks: expected.map(iso)});
      }
    }
  });

  test('a job a day fires as often as there are days, from wherever one looks', () => {
    for (const [expression, fields] of [fixed(2, 30), fixed(0, 0), fixed(1, 45)]) {
      const times = cronTimes(expression, zone);
      const expected = ticksOf(fields, clock, FROM, TO - DAY);
      if (fields.minute[0] === 30) {
        const found: number[] = [];
        for (let at = times.next(FROM); at !== null && at <= TO - DAY; at = times.next(at)) found.push(at);
        expect(found).toEqual(expected);
      }
      // Also from inside a second pass, where it has fired already.
      for (const change of transitions(clock))
        for (const minutes of [-90, -45, -1, 0, 10, 20, 40, 80]) {
          const from = change + minutes * 60_000;
          expect(times.next(from)).toBe(expected.find(at => at > from));
        }
    }
  });
});

const iso = (at: number) => new Date(at).toISOString();

test('a random expression fires where the rules say', () => {
  const clocks = ZONES.map(zone => ({zone, clock: zoneClock(zone, FROM, TO)}));
  const list = (min: number, max: number) =>
    fc
      .uniqueArray(fc.integer({min, max}), {minLength: 1, maxLength: 3})
      .map(values => values.sort((a, b) => a - b));
  const maybe = (values: fc.Arbitrary<number[]>) => fc.option(values, {nil: undefined, freq: 3});
  fc.assert(
    fc.property(
      fc.record({
        minute: list(0, 59),
        hour: fc.oneof(list(0, 3), list(0, 23)),
        day: maybe(list(1, 28)),
        month: maybe(list(1, 12)),
        weekday: maybe(list(0, 6)),
      }),
      fc.constantFrom(...clocks),
      fc.integer({min: 0, max: 7}),
      ({minute, hour, day, month, weekday}, {zone, clock}, at) => {
        const text = [minute, hour, day, month, weekday].map(values => values?.join(',') ?? '*').join(' ');
        const isFixed = minute.length === 1 && hour.length === 1;
        const fields = {
          ...{minute, hour, isFixed},
          ...(day && {day}),
          ...(month && {month}),
          ...(weekday && {weekday}),
        };
        const from = (transitions(clock)[at] ?? Date.UTC(2026, 4, 5)) - DAY;
        const expected = ticksOf(
          fields,
          clock,
          from,
          fields.month === undefined && fields.isFixed ? TO - DAY : from + 40 * DAY,
        );
        const times = cronTimes(text, zone);
        let tick: number | null = from;
        for (const due of expected.slice(0, 5)) {
          tick = times.next(tick ?? from);
          expect({text, zone, tick}).toEqual({text, zone, tick: due});
        }
      },
    ),
    {numRuns: 60},
  );
});

describe('what is no expression is refused, with what may be meant', () => {
  test.each([
    [
      '0 0 9 * * *',
      '6 fields; a schedule has 5 (minute hour day month weekday).',
      'Did you mean "0 9 * * *"?',
    ],
    ['*/5 0 9 * * *', '6 fields', 'Did you mean "0 9 * * *"? There are no seconds.'],
    ['0 0 9 ? * MON 2026', '7 fields', 'Did you mean "0 9 * * MON"?'],
    ['0 9 * *', '4 fields', 'Did you mean "0 9 * * *"?'],
    ['daily', '1 field;', 'Write five fields'],
    ['', 'empty', 'Write five fields'],
    ['   ', 'empty', 'Write five fields'],
    ['@daily', 'nickname', 'Did you mean "0 0 * * *"?'],
    ['@reboot', 'nickname', 'Write five fields'],
    ['5/15 * * * *', 'has a step and no end', 'Did you mean "5-59/15 * * * *"?'],
    ['0 22-2 * * *', 'runs backwards', 'Did you mean "0 22-23,0-2 * * *"?'],
    ['0 0 * * 5-0', 'runs backwards', 'Did you mean "0 0 * * 5-7"?'],
    ['0 9 ? * mon', '"?" in the day', 'Did you mean "0 9 * * mon"?'],
    ['0 9 L * *', '"L" in the day: L, W, H, # and ?', 'A day is'],
    ['0 9 15W * *', 'L, W, H', 'A day is'],
    ['0 9 * * 5#2', 'L, W, H, #', 'A weekday is'],
    ['0 9 * * friL', '"friL" is no weekday', 'Did you mean "0 9 * * fri"?'],
    ['H 9 * * *', 'L, W, H', 'A minute is'],
    ['60 9 * * *', '60 is no minute: 0 to 59.', 'A minute is'],
    ['0 24 * * *', '24 is no hour', 'An hour is'],
    ['0 9 0 * *', '0 is no day: 1 to 31.', 'A day is'],
    ['0 9 * 13 *', '13 is no month', 'A month is'],
    ['0 9 * * 8', '8 is no weekday', 'A weekday is'],
    ['0 9 * * monday', '"monday" is no weekday.', 'Did you mean "0 9 * * mon"?'],
    ['0 9 * * xyz', '"xyz" is no weekday.', 'A weekday is'],
    ['0 9 * foo *', '"foo" is no month.', ''],
    ['*/0 * * * *', 'The step of "*/0"', 'A minute is'],
    ['*/61 * * * *', 'from 1 to 60', 'A minute is'],
    ['*/x * * * *', 'from 1 to 60', 'A minute is'],
    ['1,,2 * * * *', 'A value is missing', 'A minute is'],
    ['1-2-3 * * * *', 'not a range', 'A minute is'],
    ['-5 * * * *', '"" is no minute', 'A minute is'],
    ['1.5 * * * *', '"1.5" is no minute', 'A minute is'],
    ['** * * * *', '"**" is no minute', 'A minute is'],
    [`${'1,'.repeat(120)}1 * * * *`, 'longer than 200', 'Write five fields'],
  ])('%s', (expression, message, hint) => {
    const error = thrown(() => parseCron(expression));
    expect(error).toMatchObject({code: 'CRON_INVALID', exitCode: 2});
    expect(error.message).toContain(message);
    expect(error.hint).toContain(hint);
  });

  test('what is meant is itself an expression', () => {
    for (const bad of [
      '0 0 9 * * *',
      '5/15 * * * *',
      '0 22-2 * * *',
      '0 0 * * 5-0',
      '@weekly',
      '0 9 * * monday',
    ]) {
      const better = /"(.+)"/.exec(thrown(() => parseCron(bad)).hint)?.[1] ?? '';
      expect(parseCron(better).text).toBe(better);
    }
  });
});

function thrown(act: () => unknown): ByError {
  try {
    act();
  } catch (error) {
    if (error instanceof ByError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

test('names, Sunday as 0 and 7, steps in ranges and much space are taken', () => {
  const from = new Date('2026-01-01T00:00:00Z');
  const next = (expression: string) => nextCronTime(expression, from, 'UTC').toISOString();
  expect(next('  0   9 *  * SUN ')).toBe('2026-01-04T09:00:00.000Z');
  expect([next('0 9 * * 0'), next('0 9 * * 7')]).toEqual([next('0 9 * * sun'), next('0 9 * * sun')]);
  expect(next('10-50/20 0 * Feb *')).toBe('2026-02-01T00:10:00.000Z');
  expect(next('0 0 * * fri-sun')).toBe('2026-01-02T00:00:00.000Z');
});

test('a time that never comes is said so, a day that comes every four years is found', () => {
  const from = new Date('2026-01-01T00:00:00Z');
  expect(thrown(() => nextCronTime('0 0 30 2 *', from, 'UTC'))).toMatchObject({
    code: 'CRON_NEVER_FIRES',
    exitCode: 2,
  });
  expect(thrown(() => previewSchedule('0 0 31 4 *', 'UTC'))).toMatchObject({code: 'CRON_NEVER_FIRES'});
  expect(nextCronTime('0 0 29 2 *', from, 'UTC').toISOString()).toBe('2028-02-29T00:00:00.000Z');
});

test.each([
  ['', 'is empty', 'Name one'],
  ['UTC+2', 'an offset', 'Name the place'],
  ['+02:00', 'an offset', 'Name the place'],
  ['GMT-5', 'an offset', 'Name the place'],
  ['Europe/Berln', 'not a time zone', 'Did you mean "Europe/Berlin"?'],
  ['berlin', 'not a time zone', 'Did you mean "Europe/Berlin"?'],
  ['New York', 'not a time zone', 'Did you mean "America/New_York"?'],
  ['Mars/Olympus_Mons', 'not a time zone', 'Name one'],
])('%s is no time zone', (zone, message, hint) => {
  const error = thrown(() => nextCronTime('* * * * *', new Date(0), zone));
  expect(error).toMatchObject({code: 'TIMEZONE_INVALID', exitCode: 2});
  expect(error.message).toContain(message);
  expect(error.hint).toContain(hint);
});

test('a zone is spelt as the database does; an unknown one is UTC only where that is asked for', () => {
  expect([checkedTimeZone('europe/berlin'), checkedTimeZone(' utc ')]).toEqual(['Europe/Berlin', 'UTC']);
  const from = new Date('2026-07-01T00:00:00Z');
  for (const zone of ['', 'Nowhere', 'UTC+2'])
    expect(nextCronTime('0 9 * * *', from, zone, {lenientTimezone: true}).toISOString()).toBe(
      '2026-07-01T09:00:00.000Z',
    );
  const lenient = {lenientTimezone: true};
  expect(nextCronTime('0 9 * * *', from, 'Europe/Berlin', lenient).toISOString()).toBe(
    '2026-07-01T07:00:00.000Z',
  );
});

test('a preview says where the clocks change', () => {
  const preview = (expression: string, zone: string, from: string, n: number) =>
    previewSchedule(expression, zone, {from: new Date(from), n}).map(
      ({at, local, note, explanation}) =>
        `${local} ${at.toISOString().slice(11, 16)} ${note ?? '-'} ${explanation ?? ''}`,
    );
  expect(preview('30 2 * * *', 'America/New_York', '2026-03-07T00:00:00Z', 3)).toEqual([
    '2026-03-07 02:30 EST 07:30 - ',
    '2026-03-08 03:00 EDT 07:00 gap 02:30 does not exist, fires at the end of the gap',
    '2026-03-09 02:30 EDT 06:30 - ',
  ]);
  expect(preview('30 1 * * *', 'America/New_York', '2026-10-31T12:00:00Z', 2)).toEqual([
    '2026-11-01 01:30 EDT 05:30 overlap 01:30 comes twice, fires in the first pass',
    '2026-11-02 01:30 EST 06:30 - ',
  ]);
  expect(
    preview('*/30 * * * *', 'America/New_York', '2026-11-01T04:45:00Z', 6).map(line => line.slice(11)),
  ).toEqual([
    '01:00 EDT 05:00 overlap 01:00 comes twice, this is the first pass',
    '01:30 EDT 05:30 overlap 01:30 comes twice, this is the first pass',
    '01:00 EST 06:00 overlap 01:00 comes twice, this is the second pass',
    '01:30 EST 06:30 overlap 01:30 comes twice, this is the second pass',
    '02:00 EST 07:00 - ',
    '02:30 EST 07:30 - ',
  ]);
  expect(preview('15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T00:00:00Z', 2)[0]).toMatch(
    /02:30 GMT\+11 15:30 gap 02:15 does not exist/,
  );
  expect(preview('0 0 * * *', 'America/Santiago', '2026-09-05T12:00:00Z', 1)[0]).toMatch(
    /01:00 .* 04:00 gap 00:00/,
  );
});
