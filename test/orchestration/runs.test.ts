import {expect, test} from 'vitest';
import {cancelRun, cancelTask} from '../../src/orchestration/cancel-run.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {lookAt} from '../../src/store/orchestration.js';
import {readNumbered} from '../../src/store/orchestration-lists.js';
import {findExecution} from '../../src/store/executions.js';
import {defineAgent} from '../../src/worker/agent.js';
import {mortal} from '../support/crash.js';
import {describeEachStore, until} from '../support/stores.js';
import {echo, ended, eventTypes, orchestrate, times, work, workspaceOf} from './support.js';

describeEachStore('runs', at => {
  test('a task is sent, done by an ordinary worker, and tells of it', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    await work(at, store, [echo]);
    orchestrate(at, ws);
    const {runId, task} = await acceptTask(ws, {agentType: 'echo', message: 'hi'});
    expect(await ended(ws, runId)).toMatchObject({
      task: {status: 'done'},
      run: {status: 'ok', attemptCount: 1, result: {text: 'you said hi', truncated: false}},
      attempt: {status: 'ok', fence: 1, place: 'gone'},
      ...{heads: [], holder: '', inflight: 0},
    });
    const types = await eventTypes(ws, runId);
    expect(types.filter(type => type !== 'running')).toEqual(['accepted', 'dispatched', 'finished']);
    const log = await readNumbered(ws, ws.keys.orchLog('default', task.taskId), 0, 10);
    expect(log.entries.map(({doc}) => JSON.parse(doc) as object)).toMatchObject([
      {stream: 'user', data: 'hi'},
      {stream: 'agent', data: 'you said hi'},
    ]);
  });

  test('twenty tasks over three orchestrators: each is run once, no more at once than their pool allows', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    let [running, most, starts] = [0, 0, 0];
    const slow = defineAgent({
      type: 'slow',
      run: async (_, ask) => {
        starts++;
        most = Math.max(most, ++running);
        await new Promise(resolve => setTimeout(resolve, 20));
        running--;
        return {content: ask.text};
      },
    });
    await work(at, store, [slow]);
    for (let i = 0; i < 3; i++) orchestrate(at, ws);
    const all = await times(20, i => acceptTask(ws, {agentType: 'slow', message: `${i}`}));
    for (const {runId} of all) expect((await ended(ws, runId)).run?.status).toBe('ok');
    expect([starts, most <= 4]).toEqual([20, true]);
  });

  test('tasks of one session run one after another, in their order, each under a higher fence', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    const heard: string[] = [];
    const listen = defineAgent({
      type: 'listen',
      run: async (_, ask) => {
        heard.push(`+${ask.text}`);
        await new Promise(resolve => setTimeout(resolve, 10));
        heard.push(`-${ask.text}`);
        return {content: ''};
      },
    });
    await work(at, store, [listen]);
    const all = [];
    for (const message of ['a', 'b', 'c'])
      all.push(await acceptTask(ws, {agentType: 'listen', message, sessionId: 's', queueMode: 'queue'}));
    for (let i = 0; i < 2; i++) orchestrate(at, ws);
    const works = [];
    for (const {runId} of all) works.push(await ended(ws, runId));
    expect(heard).toEqual(['+a', '-a', '+b', '-b', '+c', '-c']);
    expect(works.map(one => one.attempt?.fence)).toEqual([1, 2, 3]);
  });

  test('a failure is tried again as a new execution of the same run; the last one is its end', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    let failures = 2;
    const flaky = defineAgent({
      type: 'flaky',
      run: () => {
        if (failures-- > 0) throw Object.assign(new Error('no model'), {code: 'MODEL_TIMEOUT'});
        return {content: 'at last'};
      },
    });
    await work(at, store, [flaky]);
    orchestrate(at, ws);
    const {runId} = await acceptTask(ws, {
      agentType: 'flaky',
      message: 'hi',
      policy: {retry: {maxAttempts: 3}},
    });
    expect(await ended(ws, runId)).toMatchObject({
      run: {status: 'ok', attemptCount: 3, result: {text: 'at last'}},
      attempt: {attemptNo: 3, strategy: 'retry', fence: 3},
      pool: {status: 'healthy', failures: 0},
    });
    expect((await eventTypes(ws, runId)).filter(type => type === 'retry_scheduled')).toHaveLength(2);
    failures = 9;
    const second = await acceptTask(ws, {agentType: 'flaky', message: 'hi'});
    expect(await ended(ws, second.runId)).toMatchObject({
      task: {status: 'error', statusReason: expect.any(String) as string},
      run: {status: 'error', attemptCount: 2, error: {class: 'agent_error', message: 'no model'}},
      pool: {status: 'warning', failures: 2},
    });
  });

  test('an attempt that takes too long is stopped, and tried again', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    let starts = 0;
    const stuck = defineAgent({
      type: 'stuck',
      run: async ctx => {
        if (++starts === 2) return {content: 'quick'};
        await new Promise(resolve => ctx.signal.addEventListener('abort', resolve));
        throw new Error('stopped');
      },
    });
    await work(at, store, [stuck]);
    orchestrate(at, ws);
    const {runId} = await acceptTask(ws, {agentType: 'stuck', message: 'hi', timeoutMs: 100});
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', attemptCount: 2}});
    starts = -9;
    const again = {agentType: 'stuck', message: 'hi', timeoutMs: 100, policy: {retry: {maxAttempts: 1}}};
    const {runId: second} = await acceptTask(ws, again);
    expect(await ended(ws, second)).toMatchObject({
      task: {status: 'error', statusReason: 'TIMEOUT'},
      run: {status: 'timeout', error: {class: 'timeout'}},
    });
  });

  test('nobody to take it puts it off without using up a try; its time ends it', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    orchestrate(at, ws);
    const {runId} = await acceptTask(ws, {agentType: 'echo', message: 'hi'});
    const delayed = await until(async () => {
      const seen = await lookAt(ws, 'run', runId);
      return seen?.attempt?.place === 'delayed' && seen;
    });
    expect(delayed).toMatchObject({
      attempt: {statusReason: 'AGENT_TYPE_UNAVAILABLE', tryNo: 1},
      ...{holder: '', inflight: 0},
    });
    expect(await eventTypes(ws, runId)).toContain('deferred');
    await work(at, store, [echo]);
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', attemptCount: 1}});
    const lost = await acceptTask(ws, {agentType: 'nobody', message: 'hi', expiresAt: Date.now() + 300});
    expect(await ended(ws, lost.runId)).toMatchObject({task: {status: 'dropped'}, run: {status: 'error'}});
  });

  test('cancelled while it waits it never runs; cancelled while it runs it is stopped', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    let started = false;
    const long = defineAgent({
      type: 'long',
      run: async ctx => {
        started = true;
        await new Promise(resolve => ctx.signal.addEventListener('abort', resolve));
        throw new Error('stopped');
      },
    });
    await work(at, store, [long]);
    const {deps} = orchestrate(at, ws);
    const first = await acceptTask(ws, {agentType: 'long', message: 'a', sessionId: 's', queueMode: 'queue'});
    const second = await acceptTask(ws, {
      agentType: 'long',
      message: 'b',
      sessionId: 's',
      queueMode: 'queue',
    });
    await until(async () => (await lookAt(ws, 'run', first.runId))?.run?.status === 'running');
    expect(await cancelTask(deps, second.task.taskId)).toMatchObject({outcome: 'cancelled', already: false});
    expect(await cancelTask(deps, second.task.taskId)).toMatchObject({already: true});
    expect(await cancelRun(deps, first.runId, {reason: 'enough'})).toMatchObject({outcome: 'requested'});
    expect(await ended(ws, first.runId)).toMatchObject({
      task: {status: 'cancelled'},
      run: {status: 'cancelled'},
      attempt: {errorClass: 'cancelled'},
      ...{heads: [], holder: ''},
    });
    expect(started).toBe(true);
    expect(await lookAt(ws, 'run', second.runId)).toMatchObject({attempt: {dispatchPhase: 'none'}});
    expect(await cancelRun(deps, first.runId)).toMatchObject({outcome: 'already_finished'});
    await work(at, store, [echo]);
    const done = await acceptTask(ws, {agentType: 'echo', message: 'hi'});
    await ended(ws, done.runId);
    await expect(cancelTask(deps, done.task.taskId)).rejects.toMatchObject({code: 'TASK_FINAL'});
  });

  test('a worker of ours that is killed loses its run to the next one, which does not run the old execution again', async () => {
    at.breaksRules('dead-workers');
    const store = at.open();
    const ws = workspaceOf(store);
    const starts: string[] = [];
    const agentOf = (name: string) =>
      defineAgent({
        type: 'mortal',
        run: async (_, ask) => {
          starts.push(name);
          if (name === 'first') await new Promise(() => undefined);
          return {content: ask.text};
        },
      });
    const dying = mortal(store);
    await work(at, dying.store, [agentOf('first')], {leaseMs: 600, workerId: 'w-1'});
    orchestrate(at, ws);
    const {runId, task} = await acceptTask(ws, {agentType: 'mortal', message: 'hi'});
    const {sessionId} = task;
    await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.status === 'running');
    const old = (await lookAt(ws, 'run', runId))!.attempt!;
    // Its lease ends after it; nobody else is there to take what it held.
    dying.die();
    await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.attemptNo === 2);
    expect(dying.diedBefore()).toBeDefined();
    expect((await findExecution(store, sessionId, old.executionId))?.status).toBe('CANCELLED');
    await work(at, store, [agentOf('second')]);
    expect(await ended(ws, runId)).toMatchObject({
      run: {status: 'ok', attemptCount: 2},
      attempt: {strategy: 'recovery'},
    });
    expect(starts).toEqual(['first', 'second']);
  });
});
