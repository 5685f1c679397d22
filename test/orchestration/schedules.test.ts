/** What people do with schedules, on every store. */
import {expect, test} from 'vitest';
import {ByError} from '../../src/errors.js';
import type {CreateScheduleParams, SchedulePatch} from '../../src/protocol/orchestration/schedule.js';
import {stateOf} from '../../src/protocol/orchestration/schedule.js';
import {nextCronTime} from '../../src/orchestration/cron.js';
import {Schedules} from '../../src/orchestration/schedules.js';
import * as stored from '../../src/store/schedules.js';
import {scanKeys, serverTimeMs} from '../../src/store/store.js';
import {describeEachStore} from '../support/stores.js';
import {basics, MINUTE, minutesAgo, overdue, scheduler, W, keysOf} from './schedule-support.js';
import {TestPort} from './test-port.js';

const failure = async (work: Promise<unknown>): Promise<ByError> => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ByError) return error;
  throw error instanceof Error ? error : new Error('nothing was thrown');
};

describeEachStore('Schedules', stores => {
  const opened = () => {
    const store = stores.open();
    const port = new TestPort();
    return {store, port, schedules: new Schedules({store, port})};
  };

  test('one is created with the defaults, found by both its names, listed and deleted', async () => {
    const {store, schedules} = opened();
    const before = await serverTimeMs(store);
    const created = await schedules.createSchedule(W, {
      ...basics,
      cronExpr: ' 0  9 * * mon-fri',
      timezone: 'europe/berlin',
    });
    const now = await serverTimeMs(store);
    expect(created).toEqual({
      ...{
        scheduleId: created.scheduleId,
        externalId: 'nightly-report',
        agentType: 'writer',
        prompt: 'Write the report.',
      },
      ...{cronExpr: '0 9 * * mon-fri', timezone: 'Europe/Berlin', skillPaths: [], missedPolicy: 'once'},
      ...{
        catchupWindowMs: 3_600_000,
        overlapPolicy: 'skip',
        jitterMs: 0,
        pauseAfterFailures: 0,
        sessionMode: 'fresh',
      },
      ...{
        taskDefaults: {},
        active: true,
        firing: [],
        runCount: 0,
        missedCount: 0,
        failureStreak: 0,
        retries: 0,
      },
      ...{version: 1, createdAt: created.createdAt, updatedAt: created.createdAt},
      nextRunAt: nextCronTime('0 9 * * 1-5', new Date(now), 'Europe/Berlin').getTime(),
    });
    expect(created.createdAt).toBeGreaterThanOrEqual(Math.floor(before));
    expect(created.createdAt).toBeLessThanOrEqual(now);
    expect(created.scheduleId).toMatch(/^sch_[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(await schedules.getSchedule(W, created.scheduleId)).toEqual(created);
    expect(await schedules.getSchedule(W, 'nightly-report')).toEqual(created);

    const second = await schedules.createSchedule(W, {prompt: 'x', agentId: 'agt_1', cronExpr: '0 0 * * *'});
    expect(second.externalId).toMatch(/^s-[0-9a-z]{12}$/);
    expect((await schedules.listSchedules(W)).map(({externalId}) => externalId)).toEqual([
      'nightly-report',
      second.externalId,
    ]);
    expect(await schedules.listSchedules(W, {agentId: 'writer'})).toEqual([created]);
    expect(await schedules.listSchedules(W, {active: false})).toEqual([]);
    expect(await schedules.listSchedules('another')).toEqual([]);

    expect((await schedules.deleteSchedule(W, 'nightly-report'))?.scheduleId).toBe(created.scheduleId);
    expect(await schedules.deleteSchedule(W, 'nightly-report')).toBeUndefined();
    await schedules.deleteSchedule(W, second.externalId);
    expect(await scanKeys(store, '*byorch*'.replace('*', `${store.keys.prefix}*`))).toEqual([]);
  });

  test('the same one again is the one that is there; another one under its name is refused', async () => {
    const {schedules} = opened();
    const made = await Promise.all(Array.from({length: 20}, () => schedules.createSchedule(W, basics)));
    expect(new Set(made.map(({scheduleId}) => scheduleId)).size).toBe(1);
    const error = await failure(schedules.createSchedule(W, {...basics, prompt: 'another'}));
    expect(error).toMatchObject({
      code: 'SCHEDULE_EXISTS',
      exitCode: 11,
      details: {scheduleId: made[0]?.scheduleId},
    });
    expect(await schedules.listSchedules(W)).toHaveLength(1);
  });

  const params = (changes: object) => ({...basics, ...changes}) as CreateScheduleParams;
  test.each<[string, CreateScheduleParams, string, string]>([
    ['an unknown field', params({promt: 'x'}), 'INVALID_INPUT', 'promt'],
    ['a name that is none', params({externalId: 'Nightly Report'}), 'INVALID_INPUT', 'externalId'],
    ['an empty prompt', params({prompt: '  '}), 'INVALID_INPUT', 'prompt'],
    ['a prompt that is too long', params({prompt: 'x'.repeat(262_145)}), 'INVALID_INPUT', 'prompt'],
    ['nobody to do it', params({agentType: undefined}), 'INVALID_INPUT', 'agent'],
    ['two agents', params({agentId: 'agt_1'}), 'INVALID_INPUT', 'agent'],
    ['six fields', params({cronExpr: '0 0 9 * * *'}), 'CRON_INVALID', '6 fields'],
    ['no zone', params({timezone: 'Nowhere'}), 'TIMEZONE_INVALID', 'Nowhere'],
    ['30 February', params({cronExpr: '0 0 30 2 *'}), 'CRON_NEVER_FIRES', 'five years'],
    ['a window that is too small', params({catchupWindowMs: 9999}), 'INVALID_INPUT', 'catchupWindowMs'],
    ['a jitter as long as the interval', params({jitterMs: 60_000}), 'INVALID_INPUT', 'shortest interval'],
    [
      'one session and overlap',
      params({sessionMode: 'sticky', overlapPolicy: 'allow'}),
      'INVALID_INPUT',
      'session',
    ],
    [
      'an end before the start',
      params({startsAt: 2e12, endsAt: 1e12}),
      'INVALID_INPUT',
      'end before it starts',
    ],
    ['an end before the first tick', params({endsAt: 1e12}), 'INVALID_INPUT', 'end before its first tick'],
    [
      'a policy no task could have',
      params({taskDefaults: {policy: {ask: 'sometimes' as 'off'}}}),
      'POLICY_INVALID',
      'ask',
    ],
    ['a lane with blanks', params({taskDefaults: {lane: 'a b'}}), 'INVALID_INPUT', 'taskDefaults.lane'],
  ])('%s is refused', async (_case, wrong, code, text) => {
    const {store, schedules} = opened();
    const error = await failure(schedules.createSchedule(W, wrong));
    expect(error).toMatchObject({code, exitCode: 2});
    expect(error.message).toContain(text);
    expect(await scanKeys(store, `${store.keys.prefix}*`)).toEqual([]);
  });

  test('what is missing is said so, with what may be meant', async () => {
    const {schedules} = opened();
    await schedules.createSchedule(W, basics);
    const acts = [
      schedules.getSchedule(W, 'nightly-reprot'),
      schedules.updateSchedule(W, 'nightly-reprot', {prompt: 'x'}),
      schedules.pauseSchedule(W, 'nightly-reprot'),
      schedules.resumeSchedule(W, 'nightly-reprot'),
      schedules.triggerSchedule(W, 'nightly-reprot'),
    ];
    for (const act of acts)
      expect(await failure(act)).toMatchObject({
        ...{code: 'SCHEDULE_NOT_FOUND', exitCode: 4, hint: 'Did you mean "nightly-report"?'},
      });
  });

  test('a change is one version; only other times move what is due, and they count from now', async () => {
    const {store, schedules} = opened();
    const before = await schedules.createSchedule(W, {...basics, cronExpr: '0 9 * * *', maxRuns: 5});
    const update = (patch: SchedulePatch, ifVersion?: number) =>
      schedules.updateSchedule(W, 'nightly-report', patch, ifVersion);
    const worded = await update({prompt: 'Another one.', maxRuns: null, taskDefaults: {priority: 'low'}}, 1);
    expect(worded).toMatchObject({
      ...{version: 2, prompt: 'Another one.', nextRunAt: before.nextRunAt, taskDefaults: {priority: 'low'}},
    });
    expect('maxRuns' in worded).toBe(false);
    await expect(update({taskDefaults: {policy: {retry: {tries: 3} as never}}}, 2)).rejects.toMatchObject({
      code: 'POLICY_INVALID',
    });
    const moved = await update({cronExpr: '*/5 * * * *', taskDefaults: {timeoutMs: 1000}}, 2);
    expect(moved.taskDefaults).toEqual({priority: 'low', timeoutMs: 1000});
    const now = await serverTimeMs(store);
    expect(moved.nextRunAt! - now).toBeLessThanOrEqual(5 * MINUTE);
    const error = await failure(update({prompt: 'x'}, 2));
    expect(error).toMatchObject({code: 'VERSION_CONFLICT', exitCode: 11, details: {version: 3}});
    const {agentType, agentId} = await update({agentId: 'agt_1'});
    expect([agentType, agentId]).toEqual([undefined, 'agt_1']);
    expect(await failure(update({cronExpr: 'x'}))).toMatchObject({code: 'CRON_INVALID'});
    expect(await failure(update({jitterMs: 300_000}))).toMatchObject({code: 'INVALID_INPUT'});
    const due = await store.commands.run(redis =>
      redis.zscore(keysOf(store).schedulesDue(W), moved.scheduleId),
    );
    expect(Number(due)).toBe(moved.nextRunAt);
  });

  test('of twenty changes at once none is lost unseen', async () => {
    const {schedules} = opened();
    await schedules.createSchedule(W, basics);
    const changes = await Promise.allSettled(
      Array.from({length: 20}, (_, i) => schedules.updateSchedule(W, 'nightly-report', {prompt: `p-${i}`})),
    );
    const done = changes.filter(({status}) => status === 'fulfilled').length;
    for (const change of changes)
      if (change.status === 'rejected') expect(change.reason).toMatchObject({code: 'VERSION_CONFLICT'});
    expect((await schedules.getSchedule(W, 'nightly-report')).version).toBe(1 + done);
  });

  test('what a newer program wrote stays', async () => {
    const {store, schedules} = opened();
    const {scheduleId} = await schedules.createSchedule(W, basics);
    const key = keysOf(store).schedule(W, scheduleId);
    await store.commands.run(async redis => {
      const doc = JSON.parse((await redis.hget(key, 'doc')) ?? '') as object;
      await redis.hset(key, {doc: JSON.stringify({...doc, added_later: {some_key: [1]}}), newer: 'field'});
    });
    await schedules.updateSchedule(W, 'nightly-report', {prompt: 'x'});
    await schedules.pauseSchedule(W, 'nightly-report');
    const hash = await store.commands.run(redis => redis.hgetall(key));
    expect(JSON.parse(hash['doc'] ?? '')).toMatchObject({added_later: {some_key: [1]}, prompt: 'x'});
    expect(hash['newer']).toBe('field');
  });

  test('paused it does not fire, resumed it goes on from now', async () => {
    const {store, port, schedules} = opened();
    const {scheduleId} = await overdue(store, port, 10);
    const paused = await schedules.pauseSchedule(W, 'nightly-report', {note: 'freeze until release'});
    expect(paused).toMatchObject({active: false, pauseNote: 'freeze until release', version: 2});
    expect(paused.nextRunAt).toBeUndefined();
    expect(await scheduler(store, port).tickOnce()).toMatchObject({looked: 0});
    const edited = await schedules.updateSchedule(W, 'nightly-report', {cronExpr: '0 0 * * *'});
    expect(stateOf(edited)).toBe('paused');
    const resumed = await schedules.resumeSchedule(W, 'nightly-report');
    expect(resumed).toMatchObject({active: true, version: 4, runCount: 0});
    expect([resumed.pauseNote, resumed.nextRunAt! > (await serverTimeMs(store))]).toEqual([undefined, true]);
    expect((await schedules.resumeSchedule(W, 'nightly-report')).version).toBe(4);
    expect(await scheduler(store, port).tickOnce()).toMatchObject({looked: 0});
    expect(resumed.scheduleId).toBe(scheduleId);
  });

  test('what runs is cancelled with the pause or the end, if that is asked for', async () => {
    const {store, port, schedules} = opened();
    port.endsAtOnce = false;
    for (const externalId of ['a', 'b', 'c']) await overdue(store, port, 0, {externalId, maxRuns: 9});
    await scheduler(store, port).tickOnce();
    expect(port.tasks.size).toBe(3);
    const isCancelled = async (externalId: string) => {
      const own = [...port.tasks.values()].find(({params}) => params.label === `Schedule: ${externalId}`);
      return own?.isCancelled;
    };
    await schedules.pauseSchedule(W, 'a');
    await schedules.pauseSchedule(W, 'b', {cancelRunning: true});
    await schedules.deleteSchedule(W, 'c', {cancelRunning: true});
    expect([await isCancelled('a'), await isCancelled('b'), await isCancelled('c')]).toEqual([
      false,
      true,
      true,
    ]);
    expect(await schedules.runningTask(W, await schedules.getSchedule(W, 'a'))).toMatch(/^task_/);
    expect(await schedules.runningTask(W, await schedules.getSchedule(W, 'b'))).toBeUndefined();
  });

  test('one that has ended is not paused nor resumed, and goes on if it gets more runs', async () => {
    const {store, port, schedules} = opened();
    await overdue(store, port, 3, {maxRuns: 1});
    await scheduler(store, port).tickOnce();
    expect(stateOf(await schedules.getSchedule(W, 'nightly-report'))).toBe('finished');
    for (const act of [
      schedules.pauseSchedule(W, 'nightly-report'),
      schedules.resumeSchedule(W, 'nightly-report'),
    ])
      expect(await failure(act)).toMatchObject({code: 'STATE_CONFLICT', exitCode: 11});
    const worded = await schedules.updateSchedule(W, 'nightly-report', {
      prompt: 'x',
      cronExpr: '*/2 * * * *',
    });
    expect(stateOf(worded)).toBe('finished');
    const more = await schedules.updateSchedule(W, 'nightly-report', {maxRuns: 2});
    expect([stateOf(more), more.nextRunAt! > (await serverTimeMs(store)), more.runCount]).toEqual([
      'active',
      true,
      1,
    ]);
  });

  test('run now: a task out of turn, once for each key, and its times stay', async () => {
    const {port, schedules} = opened();
    const {nextRunAt, scheduleId} = await schedules.createSchedule(W, basics);
    const first = await schedules.triggerSchedule(W, 'nightly-report', {key: 'k-1'});
    const again = await schedules.triggerSchedule(W, 'nightly-report', {key: 'k-1'});
    const other = await schedules.triggerSchedule(W, 'nightly-report');
    expect([first.idempotentHit, again.idempotentHit, other.idempotentHit]).toEqual([false, true, false]);
    expect([again.taskId === first.taskId, other.taskId === first.taskId, port.tasks.size]).toEqual([
      true,
      false,
      2,
    ]);
    const [params] = [...port.tasks.values()].map(task => task.params);
    expect(params).toMatchObject({
      ...{
        idempotencyKey: `schedule:${scheduleId}:now:k-1`,
        sessionId: expect.stringMatching(/^schedule-session:sch_\w{26}:now:[0-9a-f]{16}$/) as string,
      },
      metadata: {schedule: {trigger: 'run_now'}},
    });
    const schedule = await schedules.getSchedule(W, 'nightly-report');
    expect(schedule).toMatchObject({nextRunAt, lastTaskId: other.taskId, runCount: 0});
    expect((await schedules.listTicks(W, schedule, 10)).map(({trigger}) => trigger)).toEqual([
      'run_now',
      'run_now',
    ]);
  });

  test('backfill: the ticks of a time, without those that ran', async () => {
    const {store, port, schedules} = opened();
    const {first} = await overdue(store, port, 3);
    await scheduler(store, port).tickOnce();
    const ran = port.tasks.size;
    const from = first - 5 * MINUTE;
    const range = {from, to: first + MINUTE, limit: 100};
    const plan = await schedules.backfillSchedule(W, 'nightly-report', {...range, dryRun: true});
    expect(plan.ticks.map(({result}) => result)).toEqual([
      ...Array<string>(5).fill('planned'),
      'already_ran',
      'already_ran',
    ]);
    expect(port.tasks.size).toBe(ran);
    const told: number[] = [];
    const part = await schedules.backfillSchedule(W, 'nightly-report', {...range, limit: 3}, ({tick}) =>
      told.push(tick),
    );
    expect([part.hasMore, told]).toEqual([true, [0, 1, 2].map(i => from + i * MINUTE)]);
    const rest = await schedules.backfillSchedule(W, 'nightly-report', range);
    expect(rest.ticks.map(({result}) => result)).toEqual([
      ...[
        'already_ran',
        'already_ran',
        'already_ran',
        'submitted',
        'submitted',
        'already_ran',
        'already_ran',
      ],
    ]);
    expect(port.tasks.size).toBe(ran + 5);
    // Also of those nothing is remembered of, the key says that they ran.
    const {scheduleId} = await schedules.getSchedule(W, 'nightly-report');
    await store.commands.run(redis => redis.del(keysOf(store).scheduleTicks(W, scheduleId)));
    const again = await schedules.backfillSchedule(W, 'nightly-report', range);
    expect(again.ticks.every(({result}) => result === 'already_ran')).toBe(true);
    expect((await schedules.getSchedule(W, 'nightly-report')).runCount).toBe(ran);

    const now = await minutesAgo(store, 0);
    const future = await schedules.backfillSchedule(W, 'nightly-report', {
      from: now,
      to: now + 9 * MINUTE,
      limit: 9,
      dryRun: true,
    });
    expect(future.ticks.length).toBeLessThanOrEqual(2);
    expect(
      await failure(schedules.backfillSchedule(W, 'nightly-report', {from: 2, to: 1, limit: 9})),
    ).toMatchObject({
      code: 'INVALID_INPUT',
    });
    expect(await stored.findSchedule(store, W, 'nightly-report')).toBeDefined();
  });
});
