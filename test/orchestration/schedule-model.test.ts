/** Whatever people and schedulers do in whatever order, a schedule is in one of its states, and its indexes say the same. */
import {expect, test, vi} from 'vitest';
import {ByError} from '../../src/errors.js';
import {stateOf} from '../../src/protocol/orchestration/schedule.js';
import {Schedules} from '../../src/orchestration/schedules.js';
import * as stored from '../../src/store/schedules.js';
import {scanKeys, type Store} from '../../src/store/store.js';
import {describeEachStore} from '../support/stores.js';
import {basics, keysOf, MINUTE, minutesAgo, scheduler, W} from './schedule-support.js';
import {TestPort} from './test-port.js';
import fc from '../support/properties.js';

vi.setConfig({testTimeout: 120_000});

const NAME = basics.externalId;
type Act = (world: World) => Promise<unknown>;

class World {
  readonly port = new TestPort();
  readonly schedules: Schedules;
  constructor(readonly store: Store) {
    this.schedules = new Schedules({store, port: this.port});
  }

  find = () => stored.findSchedule(this.store, W, NAME);

  /** As if nobody had looked for so many minutes. */
  async backdate(minutes: number): Promise<void> {
    const found = await this.find();
    if (found?.nextRunAt === undefined) return;
    const at = await minutesAgo(this.store, minutes);
    const keys = keysOf(this.store);
    await this.store.commands.run(redis =>
      Promise.all([
        redis.hset(keys.schedule(W, found.scheduleId), 'next_run_at', at),
        redis.zadd(keys.schedulesDue(W), at, found.scheduleId),
      ]),
    );
  }

  /** A replica that wins ticks and dies. */
  async winAndDie(): Promise<void> {
    const from = await this.find();
    if (from?.nextRunAt === undefined) return;
    const tick = from.nextRunAt;
    const next = {tick: tick + MINUTE, lookAt: tick + MINUTE};
    await stored.advanceSchedule(this.store, W, {
      ...{from, owner: 'dead', leaseMs: 0, fire: [tick], next, missed: undefined, ending: 'ends_at'},
    });
  }
}

const look = (world: World) => scheduler(world.store, world.port).tickOnce();
const acts: Readonly<Record<string, Act>> = {
  create: ({schedules}) => schedules.createSchedule(W, {...basics, maxRuns: 7, pauseAfterFailures: 2}),
  pause: ({schedules}) => schedules.pauseSchedule(W, NAME, {note: 'n', cancelRunning: true}),
  resume: ({schedules}) => schedules.resumeSchedule(W, NAME),
  delete: ({schedules}) => schedules.deleteSchedule(W, NAME),
  retime: ({schedules}) => schedules.updateSchedule(W, NAME, {cronExpr: '*/2 * * * *'}),
  reword: ({schedules}) => schedules.updateSchedule(W, NAME, {prompt: 'another'}),
  more: ({schedules}) => schedules.updateSchedule(W, NAME, {maxRuns: null}),
  queue: ({schedules}) => schedules.updateSchedule(W, NAME, {overlapPolicy: 'queue', missedPolicy: 'all'}),
  runNow: ({schedules}) => schedules.triggerSchedule(W, NAME),
  late: world => world.backdate(3).then(() => look(world)),
  look,
  two: world => world.backdate(1).then(() => Promise.all([look(world), look(world)])),
  die: world => world.backdate(1).then(() => world.winAndDie()),
  fail: async world => {
    await world.backdate(1);
    world.port.before = () => {
      throw new ByError('CONFLICT', 'never', {hint: ''});
    };
    await look(world);
    world.port.before = () => undefined;
  },
  failNow: async world => {
    await world.backdate(1);
    world.port.before = () => {
      throw new Error('later');
    };
    await look(world);
    world.port.before = () => undefined;
  },
  long: world => Promise.resolve((world.port.endsAtOnce = false)),
  end: world => {
    for (const task of world.port.tasks.values()) task.isFinal = true;
    return Promise.resolve((world.port.endsAtOnce = true));
  },
};

async function check({store, find}: World): Promise<void> {
  const found = await find();
  const keys = keysOf(store);
  if (found === undefined) {
    expect(await scanKeys(store, `${store.keys.prefix}*`)).toEqual([]);
    return;
  }
  const {scheduleId, nextRunAt, firing, active} = found;
  const [due, held, listed] = await store.commands.run(redis =>
    Promise.all([
      redis.zscore(keys.schedulesDue(W), scheduleId),
      redis.zscore(keys.schedulesFiring(W), scheduleId),
      redis.zscore(keys.schedules(W), scheduleId),
    ]),
  );
  expect(listed).not.toBeNull();
  expect(stateOf(found) === 'active').toBe(active);
  expect(nextRunAt !== undefined).toBe(active);
  expect(due !== null).toBe(active);
  if (due !== null) expect(Number(due)).toBeGreaterThanOrEqual(nextRunAt ?? 0);
  expect(held !== null).toBe(firing.length > 0);
}

describeEachStore('a schedule', stores => {
  test('is in one of its states after anything', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...Object.keys(acts)), {minLength: 4, maxLength: 14}),
        async names => {
          const world = new World(stores.open());
          await acts['create']?.(world);
          for (const name of names) {
            const before = await world.find();
            const tasks = world.port.tasks.size;
            try {
              await acts[name]?.(world);
            } catch (error) {
              // What does not go in a state is refused, by name.
              expect(error).toBeInstanceOf(ByError);
              expect(['STATE_CONFLICT', 'SCHEDULE_NOT_FOUND', 'SCHEDULE_EXISTS']).toContain(
                (error as ByError).code,
              );
            }
            await check(world);
            if ((before === undefined || !before.active) && !['runNow'].includes(name))
              expect(world.port.tasks.size).toBe(tasks);
          }
          // What a dead one left is submitted or given up, and then nothing is left.
          for (let i = 0; i < 3; i++) await look(world);
          await check(world);
          expect((await world.find())?.firing ?? []).toEqual([]);
        },
      ),
      {numRuns: 60},
    );
  });
});
