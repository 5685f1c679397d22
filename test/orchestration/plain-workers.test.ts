import {expect, test} from 'vitest';
import {acceptTask} from '../../src/orchestration/submit.js';
import {lookAt} from '../../src/store/orchestration.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';
import {ended, eventTypes, orchestrate, workspaceOf} from './support.js';

async function open(at: TestStore) {
  at.breaksRules('dead-workers', 'ctrlStream');
  const store = at.open();
  const ws = workspaceOf(store);
  const redis = at.redis();
  const worker = (id: string) => new PlainWorker(store, redis, id, 'py').online();
  return {ws, worker, ...orchestrate(at, ws)};
}

describeEachStore('workers of other SDKs', at => {
  test('get an ordinary command with the run in its metadata, and their record is the truth', async () => {
    const {ws, worker} = await open(at);
    const plain = await worker('py-1');
    const {runId, task} = await acceptTask(ws, {agentType: 'py', message: 'hi', slotType: 'on_call'});
    const taken = await plain.take();
    expect(taken.metadata).toMatchObject({
      slot_type: 'on_call',
      by_run: {v: 1, workspace: 'default', task_id: task.taskId, run_id: runId, attempt_no: 1, fence: 1},
    });
    await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.workerId === 'py-1');
    await plain.answer(taken, 'from python');
    await plain.write(taken, {status: 'COMPLETED', finished_at: Date.now()});
    await plain.done(taken);
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', result: {text: 'from python'}}});
  });

  test('small letters end a run beside a final answer, and not without one', async () => {
    const {ws, worker} = await open(at);
    const plain = await worker('py-1');
    const {runId} = await acceptTask(ws, {agentType: 'py', message: 'hi'});
    const taken = await plain.take();
    await plain.write(taken, {status: 'completed'});
    await until(async () => (await lookAt(ws, 'run', runId))?.run?.status === 'running');
    await plain.answer(taken, 'done');
    await plain.done(taken);
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', result: {text: 'done'}}});
  });

  test('a failure with its reason in the status is a failure; one that says so is not tried again', async () => {
    const {ws, worker} = await open(at);
    const plain = await worker('py-1');
    const {runId} = await acceptTask(ws, {agentType: 'py', message: 'hi'});
    const taken = await plain.take();
    const failed = {
      status: 'FAILED: no such file',
      error_code: 'BAD_FILE',
      error_message: 'no',
      retryable: false,
    };
    await plain.write(taken, failed);
    await plain.done(taken);
    expect(await ended(ws, runId)).toMatchObject({
      run: {status: 'error', attemptCount: 1, error: {code: 'BAD_FILE', class: 'agent_error'}},
    });
  });

  test('a used-up quota puts the task off: no failure of the pool, and no try', async () => {
    const {ws, worker} = await open(at);
    const plain = await worker('py-1');
    const {runId} = await acceptTask(ws, {agentType: 'py', message: 'hi'});
    const taken = await plain.take();
    await plain.write(taken, {status: 'FAILED', error_code: 'rate_limited', error_message: 'slow down'});
    await plain.done(taken);
    await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.attemptNo === 2);
    expect(await lookAt(ws, 'run', runId)).toMatchObject({
      run: {status: 'running'},
      attempt: {tryNo: 1, place: 'delayed', deferrals: 1},
      pool: {status: 'healthy', failures: 0},
    });
  });

  test('one that was killed is given up, its run tried again elsewhere; what it still says is ignored', async () => {
    const {ws, worker} = await open(at);
    const plain = await worker('py-1');
    const {runId} = await acceptTask(ws, {agentType: 'py', message: 'hi'});
    const lost = await plain.take();
    await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.status === 'running');
    await plain.die();
    const second = await worker('py-2');
    const taken = await second.take();
    expect(taken.executionId).not.toBe(lost.executionId);
    expect(taken.metadata['by_run']).toMatchObject({attempt_no: 2, fence: 2});
    await plain.answer(lost, 'too late');
    await plain.write(lost, {status: 'COMPLETED'});
    await second.answer(taken, 'in time');
    await second.write(taken, {status: 'COMPLETED'});
    await second.done(taken);
    expect(await ended(ws, runId)).toMatchObject({
      run: {status: 'ok', result: {text: 'in time'}},
      attempt: {strategy: 'recovery'},
    });
    expect(await eventTypes(ws, runId)).toContain('orphan_recovered');
  });

  test('one that does not stop in time keeps its session until it has: the run ends without another try', async () => {
    const {ws, worker} = await open(at);
    const plain = await worker('py-1');
    const params = {agentType: 'py', sessionId: 's', timeoutMs: 50, queueMode: 'queue'} as const;
    const {runId} = await acceptTask(ws, {...params, message: 'a'});
    const next = await acceptTask(ws, {...params, message: 'b', timeoutMs: 0});
    const taken = await plain.take();
    // Its record says that it runs, whatever is written there meanwhile.
    const work = await until(async () => {
      await plain.write(taken, {status: 'RUNNING'});
      const seen = await lookAt(ws, 'run', runId);
      return seen?.run?.status === 'timeout' && seen;
    });
    expect(work).toMatchObject({attempt: {status: 'timeout', place: 'inflight'}, heads: [runId, next.runId]});
    await plain.write(taken, {status: 'COMPLETED'});
    await plain.done(taken);
    const other = await plain.take();
    expect(await lookAt(ws, 'run', runId)).toMatchObject({
      run: {status: 'timeout'},
      attempt: {place: 'gone'},
    });
    await plain.write(other, {status: 'COMPLETED'});
    await plain.done(other);
    expect((await ended(ws, next.runId)).run?.status).toBe('ok');
  });
});
