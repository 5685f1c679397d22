/** Each step of a schedule, raced and out of its turn, on every store. */
import {expect, test} from 'vitest';
import * as stored from '../../src/store/schedules.js';
import type {ScheduledTask} from '../../src/protocol/orchestration/schedule.js';
import {serverTimeMs, type Store} from '../../src/store/store.js';
import {keysOf, MINUTE, overdue, W} from '../orchestration/schedule-support.js';
import {TestPort} from '../orchestration/test-port.js';
import {describeEachStore} from '../support/stores.js';

const RACERS = 20;
const racers = <T>(act: (i: number) => Promise<T>) =>
  Promise.all(Array.from({length: RACERS}, (_, i) => act(i)));

describeEachStore('steps of schedules', stores => {
  const opened = async () => {
    const store = stores.open();
    const {scheduleId, first} = await overdue(store, new TestPort(), 3);
    const find = async () => (await stored.readScheduleById(store, W, scheduleId))!;
    const score = (key: string) => store.commands.run(redis => redis.zscore(key, scheduleId));
    const advance = (from: ScheduledTask, owner: string, fire: readonly number[] = [first, first + MINUTE]) =>
      stored.advanceSchedule(store, W, {
        ...{from, owner, leaseMs: 60_000, fire, missed: undefined, ending: 'ends_at' as const},
        next: {tick: from.nextRunAt! + 2 * MINUTE, lookAt: from.nextRunAt! + 2 * MINUTE},
      });
    const strike = async (owner: string, tick: number) =>
      stored.strikeTick(store, W, await find(), {
        owner,
        tick,
        outcome: 'submitted',
        taskId: 'task_1',
        leaseMs: 60_000,
      });
    const revert = async (owner: string, tick: number) =>
      stored.revertSchedule(store, W, scheduleId, {
        ...{
          owner,
          tick,
          nextRunAt: first + 2 * MINUTE,
          cause: 'failed' as const,
          waitMs: 5000,
          longestMs: 300_000,
        },
      });
    return {store, scheduleId, first, find, score, advance, strike, revert};
  };
  const free = (store: Store, scheduleId: string) =>
    store.commands.run(redis => redis.zadd(keysOf(store).schedulesFiring(W), 1, scheduleId));

  test('of twenty that want a tick one wins it', async () => {
    const {first, find, advance} = await opened();
    const from = await find();
    expect((await racers(i => advance(from, `r-${i}`))).filter(Boolean)).toHaveLength(1);
    expect(await find()).toMatchObject({
      nextRunAt: first + 2 * MINUTE,
      firing: [first, first + MINUTE],
      version: 1,
    });
  });

  test('nobody wins one of a schedule that was changed, paused, or has ticks under way', async () => {
    const {store, find, advance} = await opened();
    const before = await find();
    await stored.changeSchedule(store, W, {from: before, lookAt: 'as before', fields: {active: '1'}});
    expect(await advance(before, 'a')).toBe(false);
    const changed = await find();
    expect(await advance(changed, 'b')).toBe(true);
    expect(await advance(await find(), 'c')).toBe(false);
    await stored.changeSchedule(store, W, {
      from: changed,
      lookAt: 'never',
      fields: {active: '0'},
      stopsFiring: true,
    });
    expect(await advance(await find(), 'd')).toBe(false);
    expect(await stored.deleteSchedule(store, W, changed)).toBe(true);
    expect(await advance(changed, 'e')).toBe(false);
    expect(
      await store.commands.run(redis => redis.exists(keysOf(store).schedule(W, changed.scheduleId))),
    ).toBe(0);
  });

  test('only who has won a tick strikes it out, once', async () => {
    const {scheduleId, store, first, find, score, advance, strike} = await opened();
    await advance(await find(), 'me');
    expect(await strike('other', first)).toBe('lost');
    expect((await find()).firing).toEqual([first, first + MINUTE]);
    expect(await racers(() => strike('me', first))).toEqual([
      'go',
      ...Array<string>(RACERS - 1).fill('lost'),
    ]);
    expect(await find()).toMatchObject({firing: [first + MINUTE], runCount: 1, lastRunAt: first});
    expect(await strike('me', first + 5 * MINUTE)).toBe('lost');
    // Whoever goes on keeps the rest for as long again.
    const lease = Number(await score(keysOf(store).schedulesFiring(W))) - (await serverTimeMs(store));
    expect(lease).toBeGreaterThan(30_000);
    expect(await strike('me', first + MINUTE)).toBe('go');
    expect([(await find()).firing, await score(keysOf(store).schedulesFiring(W))]).toEqual([[], null]);
    expect(await stored.lastTicks(store, W, scheduleId, 9)).toHaveLength(2);
    const gone = await find();
    await stored.deleteSchedule(store, W, gone);
    expect(
      await stored.strikeTick(store, W, gone, {
        ...{owner: 'me', tick: first, outcome: 'submitted', leaseMs: 1},
      }),
    ).toBe('gone');
  });

  test('only who has won a tick puts it back, and only where the schedule still stands after it', async () => {
    const {store, first, find, score, advance, revert} = await opened();
    await advance(await find(), 'me');
    expect(await revert('other', first)).toBe(false);
    expect((await find()).nextRunAt).toBe(first + 2 * MINUTE);
    expect(await revert('me', first + MINUTE)).toBe(true);
    const back = await find();
    expect(back).toMatchObject({
      nextRunAt: first + MINUTE,
      firing: [],
      retries: 1,
      revertedTick: first + MINUTE,
    });
    expect(Number(await score(keysOf(store).schedulesDue(W)))).toBe(back.retryAt);
    expect(await revert('me', first)).toBe(false);

    await advance(back, 'me', [first + MINUTE]);
    const next = first + 90 * MINUTE;
    await stored.changeSchedule(store, W, {from: await find(), lookAt: next, fields: {next_run_at: next}});
    expect(await revert('me', first + MINUTE)).toBe(false);
    expect(await find()).toMatchObject({nextRunAt: next, firing: []});
  });

  test('of twenty that take over one gets the ticks, and the one before has lost them', async () => {
    const {store, scheduleId, first, find, advance, strike, revert} = await opened();
    await advance(await find(), 'dead');
    const take = (owner: string) =>
      stored.takeTicks(store, W, scheduleId, {owner, leaseMs: 60_000, tooOldMs: 600_000});
    expect(await take('too early')).toEqual([]);
    await free(store, scheduleId);
    const taken = await racers(i => take(`r-${i}`));
    expect(taken.filter(ticks => ticks.length > 0)).toEqual([[first, first + MINUTE]]);
    expect([await strike('dead', first), await revert('dead', first)]).toEqual(['lost', false]);
    const winner = `r-${taken.findIndex(ticks => ticks.length > 0)}`;
    expect(await strike(winner, first)).toBe('go');
  });

  test('of twenty changes of one version one is made', async () => {
    const {store, find} = await opened();
    const from = await find();
    const made = await racers(i =>
      stored.changeSchedule(store, W, {from, lookAt: 'as before', fields: {pause_note: `n-${i}`}}),
    );
    expect(made.filter(({verdict}) => verdict === 'changed')).toEqual([{verdict: 'changed', version: 2}]);
    expect((await find()).version).toBe(2);
  });
});
