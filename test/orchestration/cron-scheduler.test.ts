/** Schedules that fire, on every store. What is due lies in the past, so nobody waits for a clock. */
import {expect, test} from 'vitest';
import {ByError} from '../../src/errors.js';
import {stateOf} from '../../src/protocol/orchestration/schedule.js';
import {Schedules} from '../../src/orchestration/schedules.js';
import * as stored from '../../src/store/schedules.js';
import {scanKeys, serverTimeMs, type Store} from '../../src/store/store.js';
import {describeEachStore, until} from '../support/stores.js';
import {basics, MINUTE, minutesAgo, overdue, scheduler, W, keysOf} from './schedule-support.js';
import {TestPort} from './test-port.js';

const later = (code: 'REDIS_UNREACHABLE' | 'CONFLICT') => new ByError(code, 'no', {hint: ''});

describeEachStore('CronScheduler', stores => {
  const opened = () => {
    const store = stores.open();
    const port = new TestPort();
    const find = async (id: string) => (await stored.readScheduleById(store, W, id))!;
    const due = (id: string) => store.commands.run(redis => redis.zscore(keysOf(store).schedulesDue(W), id));
    const outcomes = async (id: string) =>
      (await stored.lastTicks(store, W, id, 1000)).reverse().map(({outcome}) => outcome);
    return {store, port, find, due, outcomes, schedules: new Schedules({store, port})};
  };
  const retryNow = async (store: Store, id: string) =>
    store.commands.run(redis => redis.zadd(keysOf(store).schedulesDue(W), 0, id));

  test('fires what is due, and says what for', async () => {
    const {store, port, find, outcomes} = opened();
    const {scheduleId, first} = await overdue(store, port, 2, {
      ...{timezone: 'Europe/Berlin', skillPaths: ['skills/report.md']},
      taskDefaults: {priority: 'high', timeoutMs: 5000, policy: {ask: 'off'}},
    });
    const report = await scheduler(store, port).tickOnce();
    expect(report).toMatchObject({looked: 1, missed: 0, failed: 0, errors: 0});
    expect(port.ticks.slice(0, 3)).toEqual([first, first + MINUTE, first + 2 * MINUTE]);
    expect(report.submitted).toBe(port.tasks.size);
    const [task] = [...port.tasks.values()];
    expect(task?.params).toEqual({
      ...{workspace: W, agentType: 'writer', message: 'Write the report.', lane: 'schedule:nightly-report'},
      ...{priority: 'high', timeoutMs: 5000, policy: {ask: 'off'}, label: 'Schedule: nightly-report'},
      sessionId: `schedule-session:${scheduleId}:${first}`,
      idempotencyKey: `schedule:${scheduleId}:${first}`,
      spawnedBy: `schedule:${scheduleId}`,
      metadata: {
        schedule: {
          ...{schedule_id: scheduleId, external_id: 'nightly-report', trigger: 'tick', scheduled_at: first},
          scheduled_local: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d$/) as string,
          timezone: 'Europe/Berlin',
          skill_paths: ['skills/report.md'],
        },
      },
    });
    const schedule = await find(scheduleId);
    expect(schedule).toMatchObject({
      ...{runCount: port.tasks.size, firing: [], lastOutcome: 'submitted', failureStreak: 0, version: 1},
      ...{lastRunAt: port.ticks.at(-1), nextRunAt: port.ticks.at(-1)! + MINUTE},
      lastTaskId: [...port.tasks.values()].at(-1)?.taskId,
    });
    expect(await outcomes(scheduleId)).toEqual(port.ticks.map(() => 'submitted'));
    expect(await scheduler(store, port).tickOnce()).toMatchObject({looked: 0, more: false});
  });

  test('of replicas that look at once, one fires each tick', async () => {
    const {store, port} = opened();
    const made = await Promise.all(
      [5, 7, 9].map(minutes => overdue(store, port, minutes, {externalId: `s-${minutes}`})),
    );
    const replicas = Array.from({length: 4}, () => scheduler(store, port));
    await until(async () => {
      const reports = await Promise.all(replicas.map(replica => replica.tickOnce()));
      return reports.every(({looked}) => looked === 0);
    });
    for (const {scheduleId, first} of made) {
      const ticks = [...port.tasks.keys()]
        .filter(key => key.includes(scheduleId))
        .map(key => Number(key.split(':')[2]));
      expect(ticks).toEqual(ticks.map((_, i) => first + i * MINUTE));
    }
    expect([...port.tasks.values()].every(({submits}) => submits === 1)).toBe(true);
  });

  test('a long absence is made good in slices', async () => {
    const {store, port} = opened();
    const {first} = await overdue(store, port, 230);
    expect(await scheduler(store, port).tickOnce()).toMatchObject({submitted: 100, more: true});
    expect(await scheduler(store, port).tickOnce()).toMatchObject({submitted: 100, more: true});
    const {submitted, more} = await scheduler(store, port).tickOnce();
    expect([submitted >= 31, more]).toEqual([true, false]);
    expect(port.ticks).toEqual(port.ticks.map((_, i) => first + i * MINUTE));
  });

  test('what is left out is counted and written down', async () => {
    const {store, port, find} = opened();
    const {scheduleId, first} = await overdue(store, port, 10, {
      missedPolicy: 'once',
      catchupWindowMs: 3_600_000,
    });
    await scheduler(store, port).tickOnce();
    expect(port.tasks.size).toBe(1);
    const {missedCount, runCount} = await find(scheduleId);
    expect([missedCount >= 10, runCount]).toEqual([true, 1]);
    const ticks = await stored.lastTicks(store, W, scheduleId, 10);
    expect(ticks.map(({outcome}) => outcome)).toEqual(['submitted', 'missed']);
    expect(ticks[1]).toMatchObject({
      tick: first,
      count: missedCount,
      until: first + (missedCount - 1) * MINUTE,
    });
  });

  test('a submit that may pass is made again, under the same key, and later each time', async () => {
    const {store, port, find, due, outcomes} = opened();
    const {scheduleId, first} = await overdue(store, port, 1, {missedPolicy: 'skip'});
    // The first is late, the second may be on time: both are past their grace if the clock stands badly.
    await store.commands.run(redis =>
      redis.hset(keysOf(store).schedule(W, scheduleId), 'reverted_tick', first),
    );
    let tries = 0;
    port.before = () => {
      tries++;
      throw later('REDIS_UNREACHABLE');
    };
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      expect(await scheduler(store, port).tickOnce()).toMatchObject({putBack: 1, submitted: 0, more: false});
      waits.push(Number(await due(scheduleId)) - (await serverTimeMs(store)));
      await retryNow(store, scheduleId);
    }
    expect(tries).toBe(8);
    expect(waits.map(wait => Math.ceil(wait / 5000))).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    expect(await find(scheduleId)).toMatchObject({
      nextRunAt: first,
      firing: [],
      runCount: 0,
      failureStreak: 0,
    });
    port.before = () => undefined;
    await scheduler(store, port).tickOnce();
    expect(port.ticks[0]).toBe(first);
    const after = await find(scheduleId);
    expect([after.retries, after.retryAt, after.revertedTick]).toEqual([0, undefined, undefined]);
    expect((await outcomes(scheduleId)).filter(outcome => outcome === 'submitted').length).toBe(
      port.tasks.size,
    );
  });

  test('a submit that never answers is given up, and made again', async () => {
    const {store, port, find} = opened();
    const {scheduleId, first} = await overdue(store, port, 1);
    let given: AbortSignal | undefined;
    const hanging = Object.assign(new TestPort(), {
      submitTask: (_params: unknown, signal?: AbortSignal) => {
        given = signal;
        return new Promise<never>(() => undefined);
      },
    });
    expect(await scheduler(store, hanging, {submitTimeoutMs: 20}).tickOnce()).toMatchObject({putBack: 1});
    expect(given?.aborted).toBe(true);
    expect(await find(scheduleId)).toMatchObject({nextRunAt: first, retries: 1});
  });

  test('one that will never pass is left, counted, and after some the schedule pauses', async () => {
    const {store, port, find, due, outcomes} = opened();
    const {scheduleId} = await overdue(store, port, 5, {pauseAfterFailures: 3});
    port.before = () => {
      throw later('CONFLICT');
    };
    expect(await scheduler(store, port).tickOnce()).toMatchObject({failed: 3, putBack: 0});
    const schedule = await find(scheduleId);
    expect(schedule).toMatchObject({active: false, failureStreak: 3, firing: [], version: 2});
    expect(schedule.pauseNote).toBe('failed 3 times in a row: CONFLICT: no');
    expect([schedule.nextRunAt, await due(scheduleId)]).toEqual([undefined, null]);
    expect(await outcomes(scheduleId)).toEqual(['failed', 'failed', 'failed', 'paused']);
  });

  test('where nobody tells how tasks end, a submit ends a row of failures', async () => {
    const {store, port, find} = opened();
    const {scheduleId, first} = await overdue(store, port, 5, {pauseAfterFailures: 2});
    port.before = ({idempotencyKey}) => {
      if ((Number(idempotencyKey.split(':')[2]) - first) % (2 * MINUTE) === 0) throw later('CONFLICT');
    };
    const {failed} = await scheduler(store, port).tickOnce();
    expect(failed).toBeGreaterThanOrEqual(3);
    expect((await find(scheduleId)).active).toBe(true);
  });

  test('overlap: skip leaves out, allow and cancel submit, and cancel ends what ran', async () => {
    const {store, port, outcomes} = opened();
    port.endsAtOnce = false;
    const skip = await overdue(store, port, 2, {externalId: 'skip', overlapPolicy: 'skip'});
    await scheduler(store, port).tickOnce();
    expect((await outcomes(skip.scheduleId)).slice(0, 3)).toEqual([
      'submitted',
      'skipped_overlap',
      'skipped_overlap',
    ]);
    expect(port.tasks.size).toBe(1);

    const cancel = await overdue(store, port, 2, {externalId: 'cancel', overlapPolicy: 'cancel'});
    await scheduler(store, port).tickOnce();
    const own = [...port.tasks.values()].filter(({params}) => params.spawnedBy.includes(cancel.scheduleId));
    expect(own.map(({isCancelled}) => isCancelled)).toEqual(own.map((_, i) => i < own.length - 1));
    expect(own.length).toBeGreaterThanOrEqual(3);
  });

  test('overlap: queue submits one at a time, each when the one before has ended, and leaves none out', async () => {
    const {store, port, find} = opened();
    port.endsAtOnce = false;
    const {scheduleId, first} = await overdue(store, port, 4, {overlapPolicy: 'queue'});
    const replica = scheduler(store, port);
    for (let i = 0; i < 4; i++) {
      expect(await replica.tickOnce()).toMatchObject({submitted: 1, more: false});
      expect(await replica.tickOnce()).toMatchObject({putBack: 1, submitted: 0});
      expect(await find(scheduleId)).toMatchObject({nextRunAt: first + (i + 1) * MINUTE, retries: 0});
      // Held ones are looked at again after a while, not at once.
      expect(await replica.tickOnce()).toMatchObject({looked: 0});
      for (const task of port.tasks.values()) task.isFinal = true;
      await retryNow(store, scheduleId);
    }
    expect(port.ticks).toEqual([0, 1, 2, 3].map(i => first + i * MINUTE));
    expect((await find(scheduleId)).missedCount).toBe(0);
  });

  test('ends with its last run, and with its time', async () => {
    const {store, port, find, due} = opened();
    const runs = await overdue(store, port, 10, {externalId: 'runs', maxRuns: 3});
    const now = await minutesAgo(store, 0);
    const time = await overdue(store, port, 10, {externalId: 'time', endsAt: now + 90_000});
    // Its end is in the past now.
    const {externalId: _, ...definition} = await find(time.scheduleId);
    await store.commands.run(async redis => {
      const key = keysOf(store).schedule(W, time.scheduleId);
      const doc = JSON.parse((await redis.hget(key, 'doc')) ?? '') as object;
      await redis.hset(key, 'doc', JSON.stringify({...doc, ends_at: time.first + 2 * MINUTE}));
    });
    expect(definition.endsAt).toBe(now + 90_000);
    await until(async () => (await scheduler(store, port).tickOnce()).looked === 0);
    for (const [{scheduleId}, reason, count] of [
      [runs, 'max_runs', 3],
      [time, 'ends_at', 3],
    ] as const) {
      const schedule = await find(scheduleId);
      expect(schedule).toMatchObject({active: false, finishedReason: reason, runCount: count, firing: []});
      expect([stateOf(schedule), schedule.nextRunAt, await due(scheduleId)]).toEqual([
        'finished',
        undefined,
        null,
      ]);
    }
  });

  test('paused while it fires: what is submitted stays, or is cancelled if that was asked for', async () => {
    const {store, port, find, schedules} = opened();
    port.endsAtOnce = false;
    const {scheduleId} = await overdue(store, port, 5);
    port.before = async () => {
      if (port.tasks.size === 2)
        await schedules.pauseSchedule(W, 'nightly-report', {note: 'freeze', cancelRunning: true});
    };
    expect(await scheduler(store, port).tickOnce()).toMatchObject({submitted: 3});
    expect([...port.tasks.values()].map(({isCancelled}) => isCancelled)).toEqual([false, true, true]);
    expect(await find(scheduleId)).toMatchObject({
      active: false,
      pauseNote: 'freeze',
      firing: [],
      runCount: 3,
    });
    expect(await scheduler(store, port).tickOnce()).toMatchObject({looked: 0});
  });

  test('deleted or changed while it fires: nothing comes back', async () => {
    const {store, port, find, schedules} = opened();
    const {scheduleId} = await overdue(store, port, 5, {externalId: 'changed'});
    port.before = async () => {
      if (port.tasks.size !== 2) return;
      await schedules.updateSchedule(W, 'changed', {cronExpr: '0 0 1 1 *'});
      throw later('REDIS_UNREACHABLE');
    };
    expect(await scheduler(store, port).tickOnce()).toMatchObject({submitted: 2, putBack: 1});
    const {nextRunAt, firing} = await find(scheduleId);
    expect([new Date(nextRunAt ?? 0).getUTCMonth(), firing]).toEqual([0, []]);

    const gone = await overdue(store, port, 5, {externalId: 'gone'});
    port.before = async () => {
      await schedules.deleteSchedule(W, 'gone');
    };
    expect(await scheduler(store, port).tickOnce()).toMatchObject({submitted: 1});
    const left = await scanKeys(store, `*${gone.scheduleId}*`);
    expect(left).toEqual([]);
    expect(await scheduler(store, port).tickOnce()).toMatchObject({looked: 0});
  });

  test('what it has won and not submitted it gives back when it stops, and another one goes on at once', async () => {
    const {store, port} = opened();
    const {first} = await overdue(store, port, 5);
    const stop = new AbortController();
    port.before = () => {
      if (port.tasks.size === 1) stop.abort();
    };
    await scheduler(store, port).start({signal: stop.signal});
    expect(port.ticks).toEqual([first, first + MINUTE]);
    await until(async () => (await scheduler(store, port).tickOnce()).looked === 0);
    expect(port.ticks).toEqual(port.ticks.map((_, i) => first + i * MINUTE));
    expect(port.tasks.size).toBeGreaterThanOrEqual(6);
  });

  test('a schedule that can not be read holds up no other', async () => {
    const {store, port} = opened();
    const broken = await overdue(store, port, 9, {externalId: 'broken'});
    await store.commands.run(redis =>
      redis.hset(keysOf(store).schedule(W, broken.scheduleId), 'doc', '{"cron_expr":1}'),
    );
    const strange = await overdue(store, port, 8, {externalId: 'strange'});
    await store.commands.run(async redis => {
      const key = keysOf(store).schedule(W, strange.scheduleId);
      const doc = JSON.parse((await redis.hget(key, 'doc')) ?? '') as object;
      await redis.hset(key, 'doc', JSON.stringify({...doc, cron_expr: 'newer syntax', added_later: {a: 1}}));
    });
    const {first} = await overdue(store, port, 1);
    // Those two come first, and fill the look.
    expect(await scheduler(store, port, {batch: 2}).tickOnce()).toMatchObject({
      looked: 2,
      errors: 1,
      more: false,
    });
    expect(await scheduler(store, port, {batch: 2}).tickOnce()).toMatchObject({looked: 1, errors: 0});
    expect(port.ticks[0]).toBe(first);
    expect(await scheduler(store, port).tickOnce()).toMatchObject({looked: 0});
  });

  test('in numbers', async () => {
    const {store, port, schedules} = opened();
    const {scheduleId} = await overdue(store, port, 5, {externalId: 'late'});
    await schedules.createSchedule(W, {...basics, externalId: 'a'});
    await schedules.createSchedule(W, {...basics, externalId: 'b', active: false});
    const now = await serverTimeMs(store);
    expect(await stored.countSchedules(store, W, {now, lateMs: 30_000})).toMatchObject({
      ...{active: 2, paused: 1, finished: 0, late: 1, next: {externalId: 'a'}},
    });
    await retryNow(store, scheduleId);
  });
});
