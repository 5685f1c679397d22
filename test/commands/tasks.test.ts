/** `by task`, `by run` and `by serve` as a person sees them, with ids and times left out. */
import {afterAll, afterEach, beforeAll, expect, test, vi} from 'vitest';
import RunCancel from '../../commands/run/cancel.js';
import RunEvents from '../../commands/run/events.js';
import RunInput from '../../commands/run/input.js';
import RunList from '../../commands/run/list.js';
import RunShow from '../../commands/run/show.js';
import RunSnapshots from '../../commands/run/snapshots.js';
import Serve from '../../commands/serve.js';
import TaskArchive from '../../commands/task/archive.js';
import TaskCancel from '../../commands/task/cancel.js';
import TaskList from '../../commands/task/list.js';
import TaskLogs from '../../commands/task/logs.js';
import TaskShow from '../../commands/task/show.js';
import TaskSubmit from '../../commands/task/submit.js';
import {poolsSection, tasksSection} from '../../src/cli/status/tasks.js';
import type {EmbeddedStore} from '../../src/dev/embedded/start.js';
import {Schedules} from '../../src/orchestration/schedules.js';
import {taskPort} from '../../src/orchestration/task-port.js';
import {createScheduleKeys} from '../../src/protocol/orchestration/schedule-keys.js';
import {silentLogger} from '../../src/log.js';
import {openStore, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {runCommand} from '../cli/run-command.js';

let embedded: EmbeddedStore;
let store: Store;
let worker: WorkerHandle;
let failures = 0;
let fired: () => void = () => undefined;
const scheduled = new Promise<void>(resolve => (fired = resolve));

beforeAll(async () => {
  const {startEmbeddedStore} = await import('../../src/dev/embedded/start.js');
  embedded = await startEmbeddedStore();
  store = openStore({url: embedded.url, name: 'test'});
  const flaky = defineAgent({
    type: 'researcher',
    run: async (_, ask) => {
      if (ask.text === 'of a schedule') fired();
      if (ask.text === 'until a schedule fires') await scheduled;
      if (failures-- > 0) throw Object.assign(new Error('no answer'), {code: 'MODEL_TIMEOUT'});
      return {content: `summary of ${ask.text}`};
    },
  });
  worker = await startWorker(store, {agents: [flaky], workerId: 'res-1', log: silentLogger});
  vi.stubEnv('BY_REDIS_URL', embedded.url);
  vi.stubEnv('NO_COLOR', '1');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await worker.stop({drainMs: 0});
  store.close();
  await embedded.close();
});
afterEach(() => {
  failures = 0;
});

/** What differs each time. */
const plain = (text: string) =>
  text
    .replaceAll(/\b(task|run|att|inp)_[0-9A-Z]{26}\b/g, '$1_ID')
    .replaceAll(/\b(exec|sess)-[0-9a-f]{16}\b/g, '$1-ID')
    .replaceAll(/execclass_[0-9a-f]{32}/g, 'POOL')
    .replaceAll(/\b\d\d:\d\d:\d\d(\.\d{3})?\b/g, 'TIME')
    .replaceAll(/\b\d+(\.\d+)?m?s\b/g, 'AGO')
    .replaceAll(/ +/g, ' ');

/** Keys that are there to stay: a worker's turns and signs of life come and go beside whatever a test does. */
async function lastingKeys(): Promise<string[]> {
  const keys = await store.commands.run(redis => redis.keys('*'));
  const left = await store.commands.run(redis => Promise.all(keys.map(key => redis.pttl(key))));
  return keys.filter((_, i) => left[i] === -1 || left[i]! > 3_600_000).sort();
}

const submit = (...args: string[]) => runCommand(TaskSubmit, ['--agent', 'researcher', ...args]);

async function submitted(...args: string[]): Promise<{task_id: string; run_id: string}> {
  const {stdout} = await submit(...args, '--json');
  return (JSON.parse(stdout) as {data: {task_id: string; run_id: string}}).data;
}

test('a task is followed to its end, over a failure', async () => {
  failures = 1;
  const {stdout, exit} = await submit('issue 42', '--retries', '1', '--follow', '--inline');
  const lines = plain(stdout)
    .split('\n')
    .filter(line => !line.includes('running'));
  expect(lines).toEqual([
    'task_ID queued run_ID session sess-ID',
    'TIME dispatched attempt 1/2 exec-ID (FAIL_FAST, 1 routable worker)',
    'TIME attempt failed agent_error MODEL_TIMEOUT → retry now (2/2)',
    'TIME dispatched attempt 2/2 exec-ID (FAIL_FAST, 1 routable worker)',
    ' summary of issue 42',
    'TIME ok AGO 2 attempts',
    '',
  ]);
  expect(exit).toBe(0);
  failures = 2;
  const failed = await submit('issue 43', '--wait', '--inline', '--json');
  expect(failed.exit).toBe(6);
  expect(JSON.parse(failed.stdout)).toMatchObject({
    ok: false,
    error: {code: 'TASK_FAILED', details: {error: {code: 'MODEL_TIMEOUT'}, status: 'error'}},
  });
});

test('a task that brings its own orchestrator brings all of it: schedules fire while it is waited for', async () => {
  const schedules = new Schedules({store, port: taskPort(store)});
  const {externalId} = await schedules.createSchedule('default', {
    ...{cronExpr: '0 0 1 1 *', agentType: 'researcher', prompt: 'of a schedule', externalId: 'inline'},
  });
  const {scheduleId} = await schedules.getSchedule('default', externalId);
  const keys = createScheduleKeys({prefix: store.keys.prefix});
  const due = String(Math.floor(Date.now() / 60_000) * 60_000);
  await store.commands.run(redis => redis.hset(keys.schedule('default', scheduleId), 'next_run_at', due));
  await store.commands.run(redis => redis.zadd(keys.schedulesDue('default'), due, scheduleId));
  const {stdout, stderr, exit} = await submit('until a schedule fires', '--wait', '--inline');
  expect([plain(stdout), exit]).toEqual(['summary of until a schedule fires\n', 0]);
  expect(plain(stderr)).toContain('TIME dispatched attempt 1/2 exec-ID (FAIL_FAST, 1 routable worker)');
  await schedules.deleteSchedule('default', externalId);
});

test('an overflow is of what is collected, and no command can summarise', async () => {
  const {task_id: task, run_id: run} = await submitted('waits for nobody');
  const say = async (...args: string[]) => {
    const {stdout, exit} = await runCommand(RunInput, [run, 'more', ...args, '--json']);
    return {exit, error: (JSON.parse(stdout) as {error?: {code: string; hint: string}}).error};
  };
  expect(await say('--overflow', 'drop_new')).toMatchObject({exit: 2, error: {code: 'USAGE'}});
  expect(await say('--mode', 'collect', '--overflow', 'summarize')).toMatchObject({
    ...{exit: 2, error: {code: 'INVALID_INPUT', hint: expect.stringContaining('summarise') as string}},
  });
  expect(await say('--mode', 'collect', '--overflow', 'drop_new')).toMatchObject({exit: 0});
  await runCommand(RunCancel, [run]);
  await runCommand(TaskArchive, [task]);
});

test('what was done is shown in every way there is', async () => {
  const {task_id: task, run_id: run} = await submitted('hello', '--inline', '--label', 'greeting');
  const shown = await runCommand(TaskShow, [task.slice(0, 24), '--runs', '--policy', '--json']);
  expect(JSON.parse(shown.stdout)).toMatchObject({
    data: {
      task: {status: 'done', policy: {retry: {max_attempts: 2}}},
      run: {result: {text: 'summary of hello'}},
    },
  });
  const people = plain((await runCommand(TaskShow, [task, '--runs'])).stdout);
  expect(people).toContain('run run_ID ok AGO 1 attempt');
  expect(people).toContain('result summary of hello');
  const logs = plain((await runCommand(TaskLogs, [task, '--follow'])).stdout);
  expect(logs).toBe('TIME user #1 hello\nTIME agent #2 summary of hello\n');
  expect((await runCommand(TaskLogs, [task, '--stream', 'agent', '--raw'])).stdout).toBe(
    'summary of hello\n',
  );
  expect(plain((await runCommand(TaskLogs, [task, '--tail', '1'])).stdout)).toBe(
    'TIME agent #2 summary of hello\n',
  );
  const listed = plain((await runCommand(TaskList, ['--label', 'greeting'])).stdout);
  expect(listed.split('\n')[1]).toMatch(/^task_ID done researcher normal 1 \w+ greeting$/);
  const runs = plain((await runCommand(RunList, ['--task', task])).stdout);
  expect(runs.split('\n')[1]).toBe('run_ID ok 1 attempt AGO task_ID researcher');
  const events = plain((await runCommand(RunEvents, [run, '--follow'])).stdout).split('\n');
  expect(events[0]).toBe('#1 TIME lifecycle accepted agent_type researcher, session_id sess-ID');
  expect(events.at(-2)).toMatch(/^#\d TIME lifecycle finished status ok$/);
  const snapshots = plain((await runCommand(RunSnapshots, [run])).stdout)
    .trim()
    .split('\n');
  expect(snapshots.at(-1)).toMatch(/^snapshot \d finished ok started TIME ended TIME$/);
  const run1 = plain((await runCommand(RunShow, [run, '--attempts'])).stdout);
  expect(run1).toMatch(/^status ok attempt 1\/2 worker res-1 fence 1$/m);
  expect(run1).toMatch(/^1 primary ok exec-ID res-1 1 *$/m);
  expect(plain((await runCommand(RunCancel, [run])).stdout)).toBe(
    'run_ID already finished (ok); nothing to cancel\n',
  );
  const again = await runCommand(RunInput, [run, 'and more', '--mode', 'steer']);
  expect(plain(again.stdout)).toBe('restarted (task_ID is taken up again as run_ID)\n');
});

test('without an orchestrator a task is kept, says so, and can be cancelled and archived', async () => {
  const {stdout, stderr, exit} = await submit('later', '--session', 'mine', '--priority', 'high');
  expect([exit, plain(stdout)]).toEqual([0, 'task_ID queued run_ID session mine\n']);
  expect(stderr).toContain('No orchestrator was seen for 30 s');
  const task = /task_\w+/.exec(stdout)![0];
  const more = await submit('and this', '--session', 'mine');
  expect(more.stderr).toContain('the session is at work: queued');
  const early = await runCommand(TaskArchive, [task]);
  expect([early.exit, plain(early.stdout)]).toEqual([
    11,
    'archived 0 tasks; 1 skipped: task_ID is queued (TASK_NOT_ARCHIVABLE)\n',
  ]);
  expect(plain((await runCommand(TaskCancel, [task])).stdout)).toBe('task_ID cancelled\n');
  expect(plain((await runCommand(TaskCancel, [task])).stdout)).toBe('task_ID cancelled before\n');
  expect(plain((await runCommand(TaskArchive, ['--status', 'cancelled'])).stdout)).toBe(
    'archived 1 task (cancelled)\n',
  );
  const waited = await submit('x', '--wait', '--timeout', '3s');
  expect(waited.exit).toBe(8);
  expect(waited.stderr).toContain('Still queued; the task goes on.');
  const [tasks] = await tasksSection(store, 'default');
  expect(tasks?.text).toMatch(/^queued \d {2}running 0 {2}waiting 0 {2}idle 0 +dropped 24h: 0$/);
  expect((await poolsSection(store, 'default'))[0]?.text).toMatch(/^\d healthy$/);
});

test('a dry run writes nothing', async () => {
  const before = await lastingKeys();
  const required = ['--require-enforcement', 'resources,network_enabled'];
  const {stdout, exit} = await submit(
    'x',
    '--dry-run',
    '--retries',
    '3',
    '--memory',
    '512m',
    ...required,
    '--json',
  );
  expect(exit).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    data: {
      ...{dry_run: true, workers_online: 1},
      request: {
        policy: {
          ...{retry: {max_attempts: 4}, resources: {memory_bytes: 536_870_912}},
          require_enforcement: ['resources', 'network_enabled'],
        },
      },
    },
  });
  expect(await lastingKeys()).toEqual(before);
});

test.each([
  ['an empty message', TaskSubmit, ['', '--agent', 'a'], 2],
  ['a mode that is none', TaskSubmit, ['x', '--agent', 'a', '--mode', 'shout'], 2],
  ['a workspace that is none', TaskList, ['--workspace', 'A B'], 2],
  ['a task nobody knows', TaskShow, ['task_00000000000000000000000000'], 4],
  ['a run nobody knows', RunShow, ['run_0000000000'], 4],
  ['a cursor of another list', TaskList, ['--cursor', 'bm9uZQ'], 2],
  ['nothing to archive', TaskArchive, [], 2],
  ['a role that is none', Serve, ['--roles', 'cook'], 2],
  ['what belongs to another mode', RunInput, ['run_0000000000', 'x', '--force-after', '1s'], 2],
] as const)('%s is refused', async (_, Command, args, code) => {
  expect((await runCommand(Command as never, [...args])).exit).toBe(code);
});
