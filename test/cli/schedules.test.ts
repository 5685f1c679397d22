/** What `by schedule` says where tasks run: with tasks of the test's own. */
import {expect, test} from 'vitest';
import {Printer} from '../../src/cli/printer.js';
import * as cli from '../../src/cli/schedules.js';
import {scheduleSection} from '../../src/cli/status/schedules.js';
import {Schedules} from '../../src/orchestration/schedules.js';
import {describeRedis} from '../support/stores.js';
import {basics, keysOf, minutesAgo, overdue, scheduler, W} from '../orchestration/schedule-support.js';
import {TestPort} from '../orchestration/test-port.js';

describeRedis('by schedule, where tasks run', stores => {
  const opened = () => {
    const store = stores.open();
    const port = new TestPort();
    let said = '';
    const sink = {write: (text: string) => (said += text)};
    const printer = new Printer({
      ...{stdout: sink, stderr: sink, mode: 'text', color: {stdout: false, stderr: false}},
      ...{isQuiet: false, isVerbose: false, columns: undefined, ascii: false, isOutputTerminal: false},
    });
    const taken = () => {
      const text = said;
      said = '';
      return text;
    };
    return {
      store,
      port,
      taken,
      place: {store, port, printer, workspace: W},
      schedules: new Schedules({store, port}),
    };
  };
  const yes = {confirm: () => Promise.resolve(true)};

  test('the running task of a paused schedule goes on, or is cancelled', async () => {
    const {store, port, taken, place} = opened();
    port.endsAtOnce = false;
    await overdue(store, port, 0, {overlapPolicy: 'skip'});
    await scheduler(store, port).tickOnce();
    await cli.listForPeople(place, 'table', {state: 'active', agent: 'writer'});
    expect(taken()).toMatch(
      /^nightly-report {3}active {2}\* \* \* \* \* {2}UTC {2}next \d\d:\d\d:00Z \([\d.]+m?s\) {2}last running {2}missed 0 {2}overlap skip\n$/,
    );
    const paused = await cli.pauseForPeople(place, 'nightly-report', {
      note: 'freeze until release',
      cancelRunning: false,
    });
    expect(taken()).toBe(
      'nightly-report   paused: "freeze until release"; the running tick task_000000…001 continues (use --cancel-running)\n',
    );
    expect(paused.runningTaskId).toBe([...port.tasks.values()][0]?.taskId);
    await cli.pauseForPeople(place, 'nightly-report', {note: undefined, cancelRunning: true});
    expect(taken()).toBe('nightly-report   paused; the running tick task_000000…001 is being cancelled\n');
    expect([...port.tasks.values()][0]?.isCancelled).toBe(true);
    await cli.listForPeople(place, 'table', {state: undefined, agent: undefined});
    expect(taken()).toContain('paused  * * * * *  UTC  next -  last cancelled  missed 0');
  });

  test('what became of ticks is shown, and deleting keeps the tasks', async () => {
    const {store, port, taken, place} = opened();
    const {first} = await overdue(store, port, 3, {maxRuns: 2, missedPolicy: 'all'});
    await scheduler(store, port).tickOnce();
    await cli.showForPeople(place, 'nightly-report', 10);
    const minute = (at: number) => `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')}Z`;
    const shown = taken();
    expect(shown).toContain('finished: max_runs');
    expect(shown).toContain('ok  task_00000000000000000000000002');
    expect(shown).toMatch(
      new RegExp(
        `ticks\n${minute(first + 60_000)}  submitted  task_0+2\n${minute(first)}  submitted  task_0+1\n$`,
      ),
    );
    await cli.deleteForPeople(place, 'nightly-report', {cancelRunning: false, ...yes});
    expect(taken()).toBe('nightly-report   deleted; 2 past tasks kept\n');
    expect(await cli.deleteForPeople(place, 'nightly-report', {cancelRunning: false, ...yes})).toMatchObject({
      deleted: false,
    });
    expect(taken()).toContain('nothing to delete');
  });

  test('run now and backfill say what was submitted, and what had run', async () => {
    const {port, taken, place, schedules} = opened();
    await schedules.createSchedule(W, {...basics, cronExpr: '0 * * * *'});
    const run = () => cli.runNowForPeople(place, 'nightly-report', {key: 'k', dryRun: false});
    expect(await run()).toMatchObject({idempotentHit: false});
    expect(taken()).toMatch(/^nightly-report {3}task_0+1 submitted\n$/);
    await run();
    expect(taken()).toMatch(/^nightly-report {3}task_0+1 was submitted under this key before\n$/);
    const range = {from: Date.UTC(2026, 0, 1), to: Date.UTC(2026, 0, 1, 2), limit: 2, dryRun: false};
    await cli.backfillForPeople(place, 'nightly-report', range);
    expect(taken()).toMatch(
      /^2026-01-01 00:00Z {2}submitted {2}task_0+2\n2026-01-01 01:00Z {2}submitted {2}task_0+3\n2 submitted, 0 ran already\. There are more/,
    );
    await cli.backfillForPeople(place, 'nightly-report', {...range, limit: 9});
    expect(taken()).toMatch(
      /00:00Z {2}ran already .*\n.*01:00Z {2}ran already.*\n.*02:00Z {2}submitted .*\n1 submitted, 2 ran already\.\n$/,
    );
    expect(port.tasks.size).toBe(4);
  });

  test('the line of by status', async () => {
    const {store, port, place, schedules} = opened();
    expect(await scheduleSection(store, W)).toEqual([]);
    await minutesAgo(store, 0);
    await schedules.createSchedule(W, {...basics, externalId: 'often'});
    await schedules.createSchedule(W, {...basics, externalId: 'b', active: false});
    expect(await scheduleSection(store, W)).toMatchObject([
      {name: 'schedules', text: '1 active  1 paused   next often in 1m   late 0'},
    ]);
    const {scheduleId} = await overdue(store, port, 5, {externalId: 'late'});
    await overdue(store, port, 5, {externalId: 'ended', maxRuns: 1});
    await store.commands.run(redis => redis.zrem(keysOf(store).schedulesDue(W), scheduleId));
    await scheduler(store, port).tickOnce();
    await store.commands.run(redis => redis.zadd(keysOf(store).schedulesDue(W), 1, scheduleId));
    expect(await scheduleSection(store, W)).toMatchObject([
      {name: 'schedules', text: '2 active  1 paused  1 finished   next often in 1m   late 1'},
    ]);
    expect(place.workspace).toBe(W);
  });
});
