/**
 * The same tasks for workers of every SDK, as their recordings play them, and for one of ours: what becomes of a task is the
 * same whoever runs it. On the Cluster it is key schema v2, elsewhere v1.
 */
import {describe, expect, test} from 'vitest';
import {AgentAPI} from '../../src/orchestration/api.js';
import {cancelTask} from '../../src/orchestration/cancel-run.js';
import {AgentService} from '../../src/orchestration/service.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {decodeRecord, execField, msgMapField} from '../../src/protocol/execution.js';
import {lookAt, type Work} from '../../src/store/orchestration.js';
import {defineAgent} from '../../src/worker/agent.js';
import type {Doc} from '../interop/vectors.js';
import {spawnWorker} from '../faults/support.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {PlainWorker, type Taken} from './plain-worker.js';
import {dialects, type Dialect, type SceneName} from './recordings.js';
import {ended, eventTypes, orchestrate, QUICK, work, workspaceOf} from './support.js';

/** The agent type of our fault tests' process, and of the recordings. */
const TYPE = 'writer';
const once = {agentType: TYPE, policy: {retry: {maxAttempts: 1}}};

/** What recorded handlers did, for our own worker. */
const writer = defineAgent({
  type: TYPE,
  run: async (ctx, ask) => {
    switch (ask.text) {
      case 'lower':
        return {status: 'completed', content: 'x'};
      case 'raise':
        throw new Error('boom');
      case 'ask':
        return {content: `said ${String(await ctx.askUser('Which env?'))}`};
      case 'hold':
        await new Promise(resolve => ctx.signal.addEventListener('abort', resolve));
        throw ctx.signal.reason;
    }
    return {content: 'Hello world'};
  },
});

/** Somebody who does what a task says. */
interface Player {
  /** Runs the next command, and ends it so. */
  plays(scene: SceneName): Promise<void>;
  /** Has begun the next command and is told to stop. */
  stops(stop: () => Promise<void>): Promise<void>;
}

function open(at: TestStore) {
  at.breaksRules('dead-workers', 'ctrlStream', 'workerCtrlStream');
  const store = at.open();
  const ws = workspaceOf(store);
  const api = new AgentAPI({runtime: new AgentService({store, times: QUICK})});
  const plain = (dialect: Dialect, id: string) =>
    new PlainWorker(store, at.redis(), id, TYPE, dialect).online();
  return {store, ws, api, plain, ...orchestrate(at, ws)};
}

type Opened = ReturnType<typeof open>;

const recorded =
  (dialect: Dialect) =>
  async (_: TestStore, {plain}: Opened): Promise<Player> => {
    const worker = await plain(dialect, 'w-1');
    return {
      plays: async scene => worker.play(await worker.take(scene), scene),
      async stops(stop) {
        const taken = await worker.take('cancelled');
        await stop();
        expect(await worker.toldToStop()).toBe(taken.messageId);
        await worker.play(taken, 'cancelled');
      },
    };
  };

const ours = async (at: TestStore, {store}: Opened): Promise<Player> => {
  await work(at, store, [writer]);
  return {plays: () => Promise.resolve(), stops: stop => stop()};
};

const workers = [
  ...dialects.map(dialect => ({name: dialect.name, start: recorded(dialect)})),
  {name: 'ours', start: ours},
];

const running = ({ws}: Opened, runId: string): Promise<Work> =>
  until(async () => {
    const seen = await lookAt(ws, 'run', runId);
    return seen?.attempt?.status === 'running' && seen;
  });

describeEachStore('the same tasks', at => {
  describe.each(workers)('for a worker of $name', ({start}) => {
    test('success, with the answer that was given', async () => {
      const opened = open(at);
      const player = await start(at, opened);
      const {runId, task} = await acceptTask(opened.ws, {...once, message: 'hi'});
      await player.plays('success');
      expect(await ended(opened.ws, runId)).toMatchObject({
        run: {status: 'ok', attemptCount: 1, result: {text: 'Hello world'}},
      });
      expect((await opened.api.getTask('default', task.taskId)).status).toBe('done');
    });

    test('a final state in small letters beside a final answer is success', async () => {
      const opened = open(at);
      const player = await start(at, opened);
      const {runId} = await acceptTask(opened.ws, {...once, message: 'lower'});
      await player.plays('lowerCase');
      expect(await ended(opened.ws, runId)).toMatchObject({run: {status: 'ok', result: {text: 'x'}}});
    });

    test('failure is the failure of the agent', async () => {
      const opened = open(at);
      const player = await start(at, opened);
      const {runId, task} = await acceptTask(opened.ws, {...once, message: 'raise'});
      await player.plays('failure');
      expect(await ended(opened.ws, runId)).toMatchObject({
        run: {status: 'error', attemptCount: 1, error: {class: 'agent_error'}},
      });
      expect((await opened.api.getTask('default', task.taskId)).status).toBe('error');
    });

    test('a question waits for its answer, and the run goes on with it', async () => {
      const opened = open(at);
      const player = await start(at, opened);
      const {runId} = await acceptTask(opened.ws, {...once, message: 'ask'});
      await player.plays('asks');
      await until(async () => (await lookAt(opened.ws, 'run', runId))?.task.status === 'waiting');
      expect(await opened.api.enqueueRunInput('default', runId, {message: 'prod'})).toMatchObject({
        outcome: 'direct',
      });
      await player.plays('answered');
      const {run} = await ended(opened.ws, runId);
      expect(run).toMatchObject({status: 'ok', attemptCount: 1});
      expect(run?.result?.text).toMatch(/said:? prod/);
      expect(await eventTypes(opened.ws, runId)).toEqual(
        expect.arrayContaining(['waiting_for_input', 'input_direct']),
      );
    });

    test('cancelled while it runs', async () => {
      const opened = open(at);
      const player = await start(at, opened);
      const {runId, task} = await acceptTask(opened.ws, {...once, message: 'hold'});
      await player.stops(async () => {
        await running(opened, runId);
        expect(await cancelTask(opened.deps, task.taskId)).toMatchObject({outcome: 'requested'});
      });
      expect(await ended(opened.ws, runId)).toMatchObject({run: {status: 'cancelled'}});
    });

    test('cancelled while it is queued: whoever takes it later changes nothing', async () => {
      const opened = open(at);
      // Online for the dispatcher, and too busy to read.
      const slow = await opened.plain(dialects[0]!, 'slow');
      const {runId, task} = await acceptTask(opened.ws, {...once, message: 'hold'});
      await until(async () => (await lookAt(opened.ws, 'run', runId))?.attempt?.dispatchPhase === 'sent');
      await cancelTask(opened.deps, task.taskId);
      expect(await ended(opened.ws, runId)).toMatchObject({run: {status: 'cancelled'}});
      await slow.die();
      const player = await start(at, opened);
      const stream = opened.store.keys.ctrlStream(TYPE);
      if ((await at.redis().xlen(stream)) > 0) await player.plays('cancelledQueued');
      await until(async () => (await at.redis().xlen(stream)) === 0);
      const after = await acceptTask(opened.ws, {...once, message: 'hi'});
      await player.plays('success');
      await ended(opened.ws, after.runId);
      expect(await lookAt(opened.ws, 'run', runId)).toMatchObject({
        ...{run: {status: 'cancelled', attemptCount: 1}, task: {status: 'cancelled'}},
      });
    });
  });

  test.each(dialects)('a killed worker of $name: the run is tried again, and ends once', async dialect => {
    const opened = open(at);
    const first = await opened.plain(dialect, 'w-1');
    const {runId} = await acceptTask(opened.ws, {agentType: TYPE, message: 'hi'});
    const lost = await first.take();
    await running(opened, runId);
    await first.die();
    const second = await opened.plain(dialect, 'w-2');
    const taken = await second.take();
    expect(taken.executionId).not.toBe(lost.executionId);
    await first.play(lost, 'failure');
    await second.play(taken, 'success');
    expect(await ended(opened.ws, runId)).toMatchObject({
      run: {status: 'ok', attemptCount: 2, result: {text: 'Hello world'}},
    });
  });

  test('a killed worker of ours: the run ends once', async () => {
    const opened = open(at);
    const process = await spawnWorker(at, opened.store);
    const {runId} = await acceptTask(opened.ws, {agentType: TYPE, message: 'hang-once'});
    await until(() => process.said.some(line => line.startsWith('half ')));
    await running(opened, runId);
    process.kill('SIGKILL');
    await process.exit;
    await work(at, opened.store, [writer]);
    expect(await ended(opened.ws, runId)).toMatchObject({run: {status: 'ok'}});
  });

  // What is played is what was recorded, field by field: else all of the above would prove little.
  test.each(dialects.filter(({name}) => name !== 'java'))(
    'of $name are played as they were recorded',
    async dialect => {
      const opened = open(at);
      const worker = await opened.plain(dialect, 'w-1');
      const scenes = ['success', 'lowerCase', 'failure'] as const;
      for (const scene of scenes) {
        await acceptTask(opened.ws, {...once, message: 'hi'});
        const taken = await worker.take(scene);
        await worker.play(taken, scene);
        const found = await recordIn(at, opened, taken);
        const expected = dialect.scenes[scene].record;
        const others = new Set(['cancel_requested', 'cancel_reason']);
        for (const [field, value] of Object.entries(expected)) {
          if (others.has(field)) continue;
          expect(typeof found[field], `${scene}: ${field}`).toBe(typeof value);
          if (field === 'finished_at') expect(Number(found[field]) > 0).toBe(Number(value) > 0);
        }
        expect(found['status']).toBe(expected['status']);
        expect(statuses(found)).toEqual(statuses(expected));
        decodeRecord(JSON.stringify(found));
      }
    },
  );

  test('a client of the TypeScript SDK that answers makes an execution of its own for the answer', async () => {
    const opened = open(at);
    const typescript = dialects.find(({name}) => name === 'typescript')!;
    const worker = await opened.plain(typescript, 'w-1');
    const {runId} = await acceptTask(opened.ws, {...once, message: 'ask'});
    const asked = await worker.take('asks');
    await worker.play(asked, 'asks');
    await until(async () => (await lookAt(opened.ws, 'run', runId))?.task.status === 'waiting');
    const answering = await answerAsTypeScript(at, opened, asked);
    expect(answering.executionId).not.toBe(asked.executionId);
    await worker.play(await worker.take('answered'), 'answered');
    expect(await ended(opened.ws, runId)).toMatchObject({
      run: {status: 'ok', attemptCount: 1, result: {text: 'said prod'}},
    });
  });
});

const statuses = ({timeline}: Doc) => (timeline as Doc[]).map(({status}) => status);

async function recordIn(at: TestStore, {store}: Opened, {sessionId, executionId}: Taken): Promise<Doc> {
  const text = await at.redis().hget(store.keys.sessionRegistry(sessionId), execField(executionId));
  return JSON.parse(text ?? '') as Doc;
}

/** As recorded in `ask_user_then_resume`: a record of its own, to which the message leads from then on. */
async function answerAsTypeScript(
  at: TestStore,
  opened: Opened,
  asked: Taken,
): Promise<{executionId: string}> {
  const {store} = opened;
  const redis = at.redis();
  const executionId = `exec-${asked.executionId.slice(-7)}r`;
  const before = await recordIn(at, opened, asked);
  const sent = {
    ...Object.fromEntries(Object.entries(before).filter(([field]) => !field.startsWith('x_'))),
    ...{execution_id: executionId, status: 'QUEUED', worker_id: '', started_at: 0, finished_at: 0},
    timeline: [{status: 'QUEUED', timestamp: Date.now()}],
  };
  const registry = store.keys.sessionRegistry(asked.sessionId);
  await redis.hset(registry, execField(executionId), JSON.stringify(sent));
  await redis.hset(registry, msgMapField(asked.messageId), executionId);
  const header = {
    ...{message_id: asked.messageId, session_id: asked.sessionId, trace_id: asked.traceId},
    ...{source_agent_type: '', target_agent_type: TYPE, parent_message_id: '', task_group_id: ''},
    ...{
      user_code: '',
      user_name: '',
      metadata: {},
      trace_parent_span_id: '',
      langfuse_parent_observation_id: '',
    },
  };
  const body = {content: 'prod', status: '', reply_data: null, extra_payload: {attachments: []}};
  const data = JSON.stringify({action_type: 'RESUME', header, body});
  await redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', data);
  return {executionId};
}
