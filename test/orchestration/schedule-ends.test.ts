/** How the tasks of a schedule end is counted there: once, in order, whoever counts and whoever dies. */
import {expect, test, vi} from 'vitest';
import {cancelTask} from '../../src/orchestration/cancel-run.js';
import {cronTimes} from '../../src/orchestration/cron.js';
import {decideOn} from '../../src/orchestration/decide.js';
import {orchestratorDeps} from '../../src/orchestration/deps.js';
import {ended, isBegun} from '../../src/orchestration/ending.js';
import {Schedules} from '../../src/orchestration/schedules.js';
import {taskPort} from '../../src/orchestration/task-port.js';
import {tickSubmit} from '../../src/orchestration/tick-submit.js';
import type {ScheduledTask} from '../../src/protocol/orchestration/schedule.js';
import {lastTicks, readScheduleById, waitingEnds} from '../../src/store/schedules.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachStore, until} from '../support/stores.js';
import {basics, keysOf, MINUTE, overdue, scheduler, W} from './schedule-support.js';
import {orchestrate, times, work, workspaceOf} from './support.js';
import fc from '../support/properties.js';

vi.setConfig({testTimeout: 120_000});

type Outcome = 'ok' | 'error' | 'timeout' | 'cancelled';
const PAUSE_AFTER = 3;

/** A schedule whose own ticks are far away. */
async function rare(store: Store): Promise<ScheduledTask> {
  const schedules = new Schedules({store, port: taskPort(store)});
  return schedules.createSchedule(W, {...basics, cronExpr: '0 0 1 1 *', pauseAfterFailures: PAUSE_AFTER});
}

/** One task of it that ends so. */
async function end(store: Store, schedule: ScheduledTask, index: number, outcome: Outcome): Promise<void> {
  const ws = workspaceOf(store, W);
  const times = cronTimes(schedule.cronExpr, schedule.timezone);
  const {taskId} = await taskPort(store).submitTask(
    tickSubmit(schedule, index * MINUTE, {workspace: W, times}),
  );
  if (outcome === 'cancelled') {
    await cancelTask(orchestratorDeps(ws), taskId);
    return;
  }
  const how =
    outcome === 'ok'
      ? {status: outcome}
      : ({
          status: outcome,
          errorClass: 'agent_error',
          error: {code: 'BROKEN', message: `no ${index}`},
        } as const);
  await decideOn(ws, 'task', taskId, one =>
    isBegun(one) ? {decision: ended(one, {...how, isPermanent: true, isProven: true})} : undefined,
  );
}

/** What should come of it. */
function model(outcomes: readonly Outcome[]) {
  let streak = 0;
  let paused: number | undefined;
  for (const outcome of outcomes) {
    if (outcome === 'cancelled') continue;
    streak = outcome === 'ok' ? 0 : streak + 1;
    if (streak >= PAUSE_AFTER) paused ??= streak;
  }
  return {streak, paused};
}

const found = async (store: Store, id: string) => (await readScheduleById(store, W, id))!;

describeEachStore('the ends of a schedule’s tasks', at => {
  test('are counted as they came, each once, by any number of schedulers, and too many pause it once', async () => {
    const outcome = fc.constantFrom<Outcome>('ok', 'error', 'error', 'timeout', 'cancelled');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(outcome, fc.boolean()), {maxLength: 12}), async steps => {
        const store = at.open();
        const schedule = await rare(store);
        const look = () => times(4, () => scheduler(store, taskPort(store)).tickOnce());
        for (const [index, [outcome, looks]] of steps.entries()) {
          await end(store, schedule, index, outcome);
          if (looks) await look();
        }
        await look();
        const {streak, paused} = model(steps.map(([outcome]) => outcome));
        const {failureStreak, active, pauseNote, nextRunAt} = await found(store, schedule.scheduleId);
        expect({failureStreak, active}).toEqual({failureStreak: streak, active: paused === undefined});
        expect(nextRunAt === undefined).toBe(!active);
        expect(await waitingEnds(store, W, 100)).toEqual([]);
        const ticks = await lastTicks(store, W, schedule.scheduleId, 100);
        const pauses = ticks.filter(({outcome}) => outcome === 'paused');
        expect(pauses).toHaveLength(active ? 0 : 1);
        if (active) return;
        expect(pauseNote).toMatch(/^failed 3 times in a row: task_\w+ BROKEN: no \d+$/);
        expect(pauses[0]).toMatchObject({
          reason: pauseNote,
          taskId: expect.stringMatching(/^task_/) as string,
        });
      }),
      {numRuns: 12},
    );
  });

  test('of whom one dies are counted once by the next', async () => {
    const points = await atEveryCrash(
      () => at.open(),
      async store => {
        const schedule = await rare(store);
        for (const index of [0, 1]) await end(store, schedule, index, 'error');
        return schedule;
      },
      store => scheduler(store, taskPort(store)).tickOnce(),
      async (store, {scheduleId}) => {
        await scheduler(store, taskPort(store)).tickOnce();
        expect(await found(store, scheduleId)).toMatchObject({failureStreak: 2, active: true});
      },
    );
    expect(points).toBeGreaterThan(5);
  });

  test('pause it though all of them could be submitted, and a resume begins anew', async () => {
    const store = at.open();
    await work(at, store, [
      defineAgent({
        type: 'writer',
        run: () => {
          throw Object.assign(new Error('no paper'), {code: 'BROKEN'});
        },
      }),
    ]);
    const {scheduleId} = await overdue(store, taskPort(store), 3, {
      ...{pauseAfterFailures: 2, taskDefaults: {policy: {retry: {maxAttempts: 1}}}},
    });
    // As other languages read it.
    const doc = await store.commands.run(redis => redis.hget(keysOf(store).schedule(W, scheduleId), 'doc'));
    expect(doc).toContain('"retry":{"max_attempts":1}');
    orchestrate(at, workspaceOf(store, W));
    const one = scheduler(store, taskPort(store));
    const paused = await until(async () => {
      await one.tickOnce();
      const schedule = await found(store, scheduleId);
      return !schedule.active && schedule;
    });
    expect(paused.pauseNote).toMatch(/^failed 2 times in a row: task_\w+ BROKEN: no paper$/);
    expect(paused.nextRunAt).toBeUndefined();
    await until(async () => (await one.tickOnce(), (await waitingEnds(store, W, 1)).length === 0));
    const schedules = new Schedules({store, port: taskPort(store)});
    const resumed = await schedules.resumeSchedule(W, basics.externalId);
    expect(resumed).toMatchObject({active: true, failureStreak: 0});
  });
});
