import {describe, expect, test} from 'vitest';
import {cronTimes} from '../../src/orchestration/cron.js';
import {jitterOf, planTicks, type Planned, type TickPlan} from '../../src/orchestration/plan-ticks.js';
import fc from '../support/properties.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const T0 = Date.UTC(2026, 0, 1, 12, 0);
const everyMinute = cronTimes('* * * * *', 'UTC');

function plan(
  changes: Partial<Planned>,
  lateMs: number,
  next = (at: number) => everyMinute.next(at),
): TickPlan {
  const schedule: Planned = {
    ...{scheduleId: 'sch_1', nextRunAt: T0, missedPolicy: 'once', catchupWindowMs: HOUR},
    ...{overlapPolicy: 'skip', jitterMs: 0, runCount: 0},
    ...changes,
  };
  return planTicks(schedule, {now: T0 + lateMs, graceMs: 10_000, next});
}
/** Minutes after T0. */
const minutes = (ticks: readonly number[]) => ticks.map(tick => (tick - T0) / MINUTE);
const facts = ({fire, next, missed}: TickPlan) => ({
  fire: minutes(fire),
  next: next === undefined ? undefined : minutes([next])[0],
  missed: missed?.count ?? 0,
});

describe('a tick that is', () => {
  test('not due yet stays', () => {
    expect(facts(plan({}, -1))).toEqual({fire: [], next: 0, missed: 0});
  });

  test.each(['skip', 'once', 'all'] as const)(
    'on time fires, whatever is done with missed ones: %s',
    missedPolicy => {
      expect(facts(plan({missedPolicy}, 0))).toEqual({fire: [0], next: 1, missed: 0});
      expect(facts(plan({missedPolicy}, 10_000))).toEqual({fire: [0], next: 1, missed: 0});
    },
  );

  test('late fires or not, as the policy says', () => {
    const late = 5 * MINUTE + 30_000;
    expect(facts(plan({missedPolicy: 'skip'}, late))).toEqual({fire: [], next: 6, missed: 6});
    expect(facts(plan({missedPolicy: 'skip'}, 5 * MINUTE + 3000))).toEqual({fire: [5], next: 6, missed: 5});
    expect(facts(plan({missedPolicy: 'once'}, late))).toEqual({fire: [5], next: 6, missed: 5});
    expect(facts(plan({missedPolicy: 'all'}, late))).toEqual({fire: [0, 1, 2, 3, 4, 5], next: 6, missed: 0});
  });

  test('older than the catch-up window never fires', () => {
    const late = 3 * HOUR + 30_000;
    expect(facts(plan({missedPolicy: 'all'}, late))).toMatchObject({next: 181, missed: 121});
    expect(facts(plan({missedPolicy: 'once'}, late))).toEqual({fire: [180], next: 181, missed: 180});
    expect(plan({missedPolicy: 'all'}, late).missed).toEqual({
      ...{count: 121, from: T0, until: T0 + 120 * MINUTE, reason: 'older than the catch-up window'},
    });
    expect(facts(plan({missedPolicy: 'all', catchupWindowMs: 10_000}, 45_000))).toEqual({
      fire: [],
      next: 1,
      missed: 1,
    });
  });

  test('one whose submit failed is not late, while it is in the window', () => {
    const failed = {missedPolicy: 'skip', revertedTick: T0} as const;
    expect(facts(plan(failed, 5 * MINUTE + 30_000))).toEqual({fire: [0], next: 6, missed: 5});
    expect(facts(plan(failed, 2 * HOUR))).toMatchObject({fire: [120], missed: 120});
  });
});

test('many missed ticks come in slices, each tick once, oldest first', () => {
  const seen: number[] = [];
  let nextRunAt: number | undefined = T0;
  const window = {missedPolicy: 'all', catchupWindowMs: 24 * HOUR} as const;
  for (let slices = 0; slices < 4; slices++) {
    const one = plan({...window, nextRunAt}, 4 * HOUR + 30_000);
    seen.push(...one.fire);
    nextRunAt = one.next;
  }
  expect(minutes(seen)).toEqual(Array.from({length: 241}, (_, i) => i));
});

test('a year of missed minutes is passed over without looking at each', () => {
  const year = {catchupWindowMs: 31_536_000_000};
  let asked = 0;
  const next = (at: number) => (asked++, everyMinute.next(at));
  const late = 300 * 24 * HOUR + 30_000;
  for (const missedPolicy of ['skip', 'once'] as const) {
    const {fire, next: following} = plan({...year, missedPolicy}, late, next);
    expect(minutes(fire)).toEqual(missedPolicy === 'once' ? [432_000] : []);
    expect(following).toBe(T0 + 432_001 * MINUTE);
  }
  plan({missedPolicy: 'all'}, late, next);
  expect(asked).toBeLessThan(32_000);
});

describe('a schedule ends', () => {
  test('with its time: what lies beyond does not fire', () => {
    const endsAt = T0 + 2 * MINUTE;
    expect(facts(plan({endsAt}, 0))).toEqual({fire: [0], next: 1, missed: 0});
    expect(facts(plan({endsAt, missedPolicy: 'all'}, HOUR / 2))).toEqual({
      fire: [0, 1, 2],
      next: undefined,
      missed: 0,
    });
    expect(plan({endsAt: T0 - 1}, 0)).toMatchObject({fire: [], next: undefined, ending: 'ends_at'});
  });

  test('with its last run', () => {
    expect(facts(plan({maxRuns: 5, runCount: 3, missedPolicy: 'all'}, HOUR / 2))).toEqual({
      fire: [0, 1],
      next: 2,
      missed: 0,
    });
    expect(plan({maxRuns: 3, runCount: 3}, 0)).toMatchObject({fire: [], next: undefined, ending: 'max_runs'});
  });
});

describe('ticks that wait for the task before', () => {
  const queue = {overlapPolicy: 'queue', missedPolicy: 'skip'} as const;

  test('go one by one, and are not late', () => {
    const held = {...queue, heldUntil: T0 + 3 * MINUTE};
    expect(facts(plan(held, 3 * MINUTE + 30_000))).toEqual({fire: [0], next: 1, missed: 0});
    expect(facts(plan({...held, nextRunAt: T0 + 3 * MINUTE}, 4 * MINUTE))).toEqual({
      fire: [3],
      next: 4,
      missed: 0,
    });
  });

  test('also not for the catch-up window, but nobody waits behind a hundred', () => {
    const held = {...queue, heldUntil: T0 + 300 * MINUTE};
    expect(facts(plan(held, 50 * MINUTE))).toEqual({fire: [0], next: 1, missed: 0});
    expect(facts(plan(held, 5 * HOUR))).toEqual({fire: [201], next: 202, missed: 201});
  });

  test('what became due while nobody looked is late', () => {
    const held = {...queue, heldUntil: T0 + MINUTE};
    expect(facts(plan(held, 10 * MINUTE))).toEqual({fire: [0], next: 1, missed: 8});
  });
});

test('jitter is the same for everybody, below its bound, and spread', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.integer({min: 0, max: 2 ** 45}),
      fc.integer({min: 0, max: 300_000}),
      (id, tick, most) => {
        const jitter = jitterOf(id, tick, most);
        expect(jitter).toBe(jitterOf(id, tick, most));
        expect(jitter).toBeGreaterThanOrEqual(0);
        expect(jitter).toBeLessThanOrEqual(most);
      },
    ),
  );
  const spread = Array.from({length: 200}, (_, i) => jitterOf('sch_1', T0 + i * MINUTE, 1000));
  expect(new Set(spread).size).toBeGreaterThan(150);
  const jitterMs = 30_000;
  const late = jitterOf('sch_1', T0, jitterMs);
  expect(facts(plan({jitterMs}, late - 1))).toMatchObject({fire: [], next: 0});
  expect(facts(plan({jitterMs, missedPolicy: 'skip'}, late))).toMatchObject({fire: [0], next: 1});
});

test('whatever is missed, each tick fires or is counted, once, and nothing fires early', () => {
  fc.assert(
    fc.property(
      fc.record({
        missedPolicy: fc.constantFrom('skip', 'once', 'all'),
        overlapPolicy: fc.constantFrom('skip', 'queue', 'allow', 'cancel'),
        jitterMs: fc.constantFrom(0, 20_000),
        catchupWindowMs: fc.integer({min: 10_000, max: 3 * HOUR}),
        heldUntil: fc.option(fc.integer({min: T0, max: T0 + 4 * HOUR}), {nil: undefined}),
        maxRuns: fc.option(fc.integer({min: 1, max: 50}), {nil: undefined}),
      }),
      fc.integer({min: 0, max: 4 * HOUR}),
      ({heldUntil, maxRuns, ...rest}, late) => {
        const changes = {
          ...rest,
          ...(heldUntil && {heldUntil}),
          ...(maxRuns && {maxRuns}),
        } as Partial<Planned>;
        const {fire, next, missed} = plan(changes, late);
        const until = next ?? T0;
        // From the first tick to the next one, each is in one place.
        expect(fire.length + (missed?.count ?? 0)).toBeLessThanOrEqual(
          (until - T0) / MINUTE + (rest.overlapPolicy === 'queue' ? 240 : 0),
        );
        if (rest.overlapPolicy !== 'queue')
          expect(fire.length + (missed?.count ?? 0)).toBe((until - T0) / MINUTE);
        expect(fire).toEqual([...new Set(fire)].sort((a, b) => a - b));
        for (const tick of fire)
          expect(tick + jitterOf('sch_1', tick, rest.jitterMs)).toBeLessThanOrEqual(T0 + late);
        if (next !== undefined) expect(next).toBeGreaterThan(Math.max(0, ...fire));
      },
    ),
  );
});
