/**
 * Schedules whose replicas are killed: each tick is one task, none is lost, and none is made twice, wherever between two of
 * its commands a replica dies.
 */
import {expect, test, vi} from 'vitest';
import type {ScheduledSubmit, SchedulePort} from '../../src/orchestration/schedule-port.js';
import {Schedules} from '../../src/orchestration/schedules.js';
import * as stored from '../../src/store/schedules.js';
import type {Store} from '../../src/store/store.js';
import {MINUTE, overdue, scheduler, W, keysOf} from '../orchestration/schedule-support.js';
import {TestPort} from '../orchestration/test-port.js';
import {atEveryCrash, Crash, mortal, type Mortal} from '../support/crash.js';
import {seeded} from '../support/seeded.js';
import {describeEachStore, until} from '../support/stores.js';

vi.setConfig({testTimeout: 240_000});

const SCHEDULES = 10;
const TICKS = 1000;
const REPLICAS = 4;

/** What submits dies with its replica too: before the task is there, or before anybody hears that it is. */
function dying(port: TestPort, isDead: () => boolean, random: () => number): SchedulePort {
  const orDie = () => {
    if (isDead()) throw new Crash();
  };
  return {
    submitTask: async params => {
      orDie();
      const answer = await port.submitTask(params);
      if (random() < 0.02) throw new Crash();
      orDie();
      return answer;
    },
    isTaskFinal: (workspace, taskId) => port.isTaskFinal(workspace, taskId),
    cancelTask: (workspace, taskId) => port.cancelTask(workspace, taskId),
  };
}

describeEachStore('schedules whose replicas are killed', stores => {
  test('four replicas, killed at random for 10,000 ticks, fire each tick exactly once', async () => {
    const store = stores.open();
    const port = new TestPort();
    const seed = Date.now() % 1_000_000;
    const random = seeded(seed);
    const made = await Promise.all(
      Array.from({length: SCHEDULES}, (_, i) =>
        overdue(store, port, TICKS - 1, {externalId: `s-${i}`, maxRuns: TICKS}),
      ),
    );
    let kills = 0;
    let isDone = false;
    // A replica looks until it dies; then there is a new one, which knows nothing of it.
    const replica = async () => {
      while (!isDone) {
        const life: Mortal = mortal(store, Math.floor(random() * 400));
        const isDead = () => life.diedBefore() !== undefined;
        const own = scheduler(life.store, dying(port, isDead, random), {leaseMs: 200, concurrency: 3});
        while (!isDead() && !isDone) {
          try {
            const {looked} = await own.tickOnce();
            if (looked === 0) isDone ||= await isFinished(store, made);
          } catch (error) {
            if (!isDead()) throw error;
          }
          await retryNow(store, made);
        }
        if (isDead()) kills++;
      }
    };
    await Promise.all(Array.from({length: REPLICAS}, replica));

    const said = `seed ${seed}`;
    for (const {scheduleId, first} of made) {
      const ticks = [...port.tasks.values()]
        .filter(({params}) => params.spawnedBy === `schedule:${scheduleId}`)
        .map(({params}) => Number(params.idempotencyKey.split(':')[2]))
        .sort((a, b) => a - b);
      expect(ticks, said).toEqual(Array.from({length: TICKS}, (_, i) => first + i * MINUTE));
      expect(await stored.readScheduleById(store, W, scheduleId), said).toMatchObject({
        ...{runCount: TICKS, missedCount: 0, failureStreak: 0, finishedReason: 'max_runs', firing: []},
      });
      const recorded = await stored.lastTicks(store, W, scheduleId, 2 * TICKS);
      const minutes = recorded.map(({tick}) => tick);
      expect([new Set(minutes).size, recorded.every(({outcome}) => outcome === 'submitted')], said).toEqual([
        minutes.length,
        true,
      ]);
    }
    // Submits are repeated only where a replica died between the submit and its strike.
    const repeated = [...port.tasks.values()].reduce((sum, {submits}) => sum + submits - 1, 0);
    expect(kills, said).toBeGreaterThan(20);
    expect(repeated, said).toBeGreaterThan(0);
    expect(repeated, said).toBeLessThan(2000);
  });

  test.each(['allow', 'skip', 'queue', 'cancel'] as const)(
    'a replica that dies anywhere within a tick loses none, with overlap %s',
    async overlapPolicy => {
      const points = await atEveryCrash(
        () => stores.open(),
        async store => {
          const port = new TestPort();
          return {port, ...(await overdue(store, port, 1, {overlapPolicy, maxRuns: 2}))};
        },
        async (store, {port}) => {
          await scheduler(store, port, {leaseMs: 30}).tickOnce();
          // A tick whose replica is dead is no error of the look; the death is.
          await store.commands.run(redis => redis.ping());
        },
        async (store, {port, scheduleId, first}) => {
          await until(async () => {
            await retryNow(store, [{scheduleId}]);
            await scheduler(store, port, {leaseMs: 30}).tickOnce();
            return isFinished(store, [{scheduleId}]);
          });
          expect(port.ticks).toEqual([first, first + MINUTE]);
          const recorded = await stored.lastTicks(store, W, scheduleId, 10);
          expect(recorded.map(({tick, outcome}) => [tick, outcome])).toEqual([
            [first + MINUTE, 'submitted'],
            [first, 'submitted'],
          ]);
          expect(await stored.readScheduleById(store, W, scheduleId)).toMatchObject({
            runCount: 2,
            missedCount: 0,
          });
        },
      );
      expect(points).toBeGreaterThanOrEqual(7);
    },
  );

  test.each(['takes over', 'puts back'] as const)('so it is while it %s', async act => {
    const fails = act === 'puts back';
    const points = await atEveryCrash(
      () => stores.open(),
      async store => {
        const port = new TestPort();
        const made = await overdue(store, port, 1, {maxRuns: 2});
        if (!fails) await leave(store, made);
        return {port, ...made};
      },
      async (store, {port}) => {
        const failing = {
          ...dying(
            port,
            () => false,
            () => 1,
          ),
          submitTask: () => Promise.reject(new Error('later')),
        };
        await scheduler(store, fails ? failing : port, {leaseMs: 30}).tickOnce();
        await store.commands.run(redis => redis.ping());
      },
      async (store, {port, scheduleId, first}) => {
        await until(async () => {
          await retryNow(store, [{scheduleId}]);
          await scheduler(store, port, {leaseMs: 30}).tickOnce();
          return isFinished(store, [{scheduleId}]);
        });
        expect(port.ticks).toEqual([first, first + MINUTE]);
        expect(await stored.readScheduleById(store, W, scheduleId)).toMatchObject({
          runCount: 2,
          missedCount: 0,
        });
      },
    );
    expect(points).toBeGreaterThanOrEqual(6);
  });

  test('what is changed meanwhile does not change ticks that are under way: their request stays the same', async () => {
    const store = stores.open();
    const port = new TestPort();
    const made = await overdue(store, port, 2, {prompt: 'as it was'});
    await leave(store, made);
    const schedules = new Schedules({store, port});
    for (const prompt of ['changed', 'and again'])
      await schedules.updateSchedule(W, 'nightly-report', {prompt});
    await schedules.updateSchedule(W, 'nightly-report', {agentId: 'agt_1'});
    await scheduler(store, port).tickOnce();
    expect(port.ticks).toEqual([made.first, made.first + MINUTE]);
    for (const {params} of port.tasks.values())
      expect(params).toMatchObject({message: 'as it was', agentType: 'writer'});
    expect(await schedules.getSchedule(W, 'nightly-report')).toMatchObject({
      prompt: 'and again',
      agentId: 'agt_1',
    });
    const key = keysOf(store).schedule(W, made.scheduleId);
    expect(await store.commands.run(redis => redis.hexists(key, 'firing_doc'))).toBe(0);
  });

  test('a replica that was only slow finds its ticks taken, and makes nothing of them a second time', async () => {
    const store = stores.open();
    const port = new TestPort();
    const {scheduleId, first} = await overdue(store, port, 2, {maxRuns: 3});
    let wake: () => void = () => undefined;
    const asleep = new Promise<void>(resolve => (wake = resolve));
    let hasBegun = false;
    const slowPort = {
      submitTask: async (params: ScheduledSubmit) => {
        hasBegun = true;
        await asleep;
        return port.submitTask(params);
      },
      isTaskFinal: () => Promise.resolve(true),
      cancelTask: () => Promise.resolve(),
    };
    const late = scheduler(store, slowPort, {leaseMs: 30}).tickOnce();
    await until(() => hasBegun);
    await until(async () => (await scheduler(store, port, {leaseMs: 60_000}).tickOnce()).submitted === 3);
    wake();
    expect(await late).toMatchObject({errors: 0});
    expect(port.ticks).toEqual([0, 1, 2].map(i => first + i * MINUTE));
    expect([...port.tasks.values()].map(({submits}) => submits)).toEqual([2, 1, 1]);
    expect(await stored.readScheduleById(store, W, scheduleId)).toMatchObject({runCount: 3});
    expect(await stored.lastTicks(store, W, scheduleId, 10)).toHaveLength(3);
  });

  test('ticks a dead replica left too long ago are left out, and said to be; those of a paused schedule too', async () => {
    const store = stores.open();
    const port = new TestPort();
    const left = async (externalId: string) => {
      const {scheduleId, first} = await overdue(store, port, 2, {externalId, catchupWindowMs: 10_000_000});
      await leave(store, {scheduleId, first});
      return {scheduleId, first};
    };
    const old = await left('old');
    const key = keysOf(store).schedule(W, old.scheduleId);
    await store.commands.run(redis => redis.hset(key, 'firing_at', Date.now() - 10_100_000));
    const paused = await left('paused');
    await new Schedules({store, port}).pauseSchedule(W, 'paused');
    await until(async () => (await scheduler(store, port).tickOnce()).looked === 0);
    expect(port.tasks.size).toBe(0);
    for (const [{scheduleId, first}, reason] of [
      [old, 'too old to be sure'],
      [paused, 'paused'],
    ] as const) {
      expect(await stored.readScheduleById(store, W, scheduleId)).toMatchObject({missedCount: 2, firing: []});
      expect(await stored.lastTicks(store, W, scheduleId, 10)).toMatchObject([
        {outcome: 'missed', tick: first, until: first + MINUTE, count: 2, reason},
      ]);
    }
  });
});

/** As a replica that won two ticks and died; others may take them at once. */
async function leave(
  store: Store,
  {scheduleId, first}: {readonly scheduleId: string; readonly first: number},
): Promise<void> {
  const from = (await stored.readScheduleById(store, W, scheduleId))!;
  await stored.advanceSchedule(store, W, {
    ...{from, owner: 'dead', leaseMs: 0, fire: [first, first + MINUTE], ending: 'ends_at'},
    ...{next: {tick: 2e12, lookAt: 2e12}, missed: undefined},
  });
}

/** Submits that failed are tried again after seconds; here at once. */
async function retryNow(store: Store, made: readonly {readonly scheduleId: string}[]): Promise<void> {
  const due = keysOf(store).schedulesDue(W);
  await store.commands.run(redis =>
    Promise.all(made.map(({scheduleId}) => redis.zadd(due, 'XX', 'LT', 1, scheduleId))),
  );
}

async function isFinished(store: Store, made: readonly {readonly scheduleId: string}[]): Promise<boolean> {
  const all = await Promise.all(made.map(({scheduleId}) => stored.readScheduleById(store, W, scheduleId)));
  return all.every(schedule => schedule?.finishedReason !== undefined);
}
