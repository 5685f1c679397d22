import {expect, test} from 'vitest';
import {createAgent, updateAgent} from '../../src/orchestration/profiles.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {listNewest, readNumbered} from '../../src/store/orchestration-lists.js';
import {lookAt} from '../../src/store/orchestration.js';
import {describeEachStore} from '../support/stores.js';
import {times, workspaceOf} from './support.js';

describeEachStore('accepting tasks', at => {
  test('writes the task with its run and its first attempt, ready to be sent', async () => {
    const ws = workspaceOf(at.open());
    const {task, runId, idempotentHit} = await acceptTask(ws, {
      agentType: 'echo',
      message: 'hi',
      priority: 'high',
    });
    expect(idempotentHit).toBe(false);
    const work = await lookAt(ws, 'task', task.taskId);
    expect(work).toMatchObject({
      task: {status: 'queued', version: 1, agentType: 'echo', policy: {retry: {maxAttempts: 2}}},
      run: {runId, status: 'accepted', attemptCount: 1},
      attempt: {attemptNo: 1, strategy: 'primary', place: 'queued', status: 'pending'},
      heads: [runId],
      pool: {status: 'healthy', desired: 4},
    });
    const {entries} = await readNumbered(ws, ws.keys.orchEvents('default', runId), 0, 10);
    expect(entries.map(({seq, doc}) => [seq, (JSON.parse(doc) as {type: string}).type])).toEqual([
      [1, 'accepted'],
    ]);
    const listed = await listNewest(ws, ws.keys.orchIndex('default', 'tasks:s:queued'), {count: 10});
    expect(listed.map(({id}) => id)).toEqual([task.taskId]);
  });

  test('of twenty with one key one is accepted, and the others learn which', async () => {
    const ws = workspaceOf(at.open());
    const all = await times(20, () =>
      acceptTask(ws, {agentType: 'echo', message: 'hi', idempotencyKey: 'k'}),
    );
    expect(new Set(all.map(({task}) => task.taskId)).size).toBe(1);
    expect(all.filter(({idempotentHit}) => !idempotentHit)).toHaveLength(1);
    await expect(
      acceptTask(ws, {agentType: 'echo', message: 'another', idempotencyKey: 'k'}),
    ).rejects.toMatchObject({code: 'IDEMPOTENCY_CONFLICT', details: {id: all[0]!.task.taskId}});
  });

  test('twenty of one session stand in one line, and the first of them may go', async () => {
    const ws = workspaceOf(at.open());
    const all = await times(20, i =>
      acceptTask(ws, {agentType: 'echo', message: `${i}`, sessionKey: 'chat'}),
    );
    expect(new Set(all.map(({task}) => task.sessionId)).size).toBe(1);
    const sessionId = all[0]!.task.sessionId;
    const redis = at.redis();
    const line = await redis.zrange(ws.keys.orchSessionQueue('default', sessionId), '0', '-1');
    expect(line).toHaveLength(20);
    const pool = (await lookAt(ws, 'run', line[0]!))!;
    const ready = await redis.zrange(ws.keys.orchReady('default', pool.run!.instanceKey), '0', '-1');
    expect(ready).toEqual([pool.attempt!.attemptId]);
  });

  test('what is to begin later waits for it, and takes nobody’s place', async () => {
    const ws = workspaceOf(at.open());
    const later = Date.now() + 3_600_000;
    const {task} = await acceptTask(ws, {
      agentType: 'echo',
      message: 'hi',
      notBeforeAt: later,
      sessionId: 's',
    });
    expect(await lookAt(ws, 'task', task.taskId)).toMatchObject({attempt: {place: 'delayed'}, heads: []});
    expect(
      await at
        .redis()
        .zscore(ws.keys.orchDelayed('default'), (await lookAt(ws, 'task', task.taskId))!.attempt!.attemptId),
    ).toBe(String(later));
  });

  test('refuses what it does not know, by name, and an agent that is switched off', async () => {
    const ws = workspaceOf(at.open());
    const wrong = {agentType: 'echo', message: 'hi', timeout: 5} as never;
    await expect(acceptTask(ws, wrong)).rejects.toMatchObject({code: 'INVALID_INPUT'});
    await expect(acceptTask(ws, {agentType: 'echo', message: ' '})).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    const policy = {security: 'sometimes'} as never;
    await expect(acceptTask(ws, {agentType: 'echo', message: 'hi', policy})).rejects.toMatchObject({
      code: 'POLICY_INVALID',
    });
    await expect(acceptTask(ws, {agentId: 'agt_none', message: 'hi'})).rejects.toMatchObject({
      code: 'AGENT_NOT_FOUND',
    });
    const agent = await createAgent(ws, {
      agentKey: 'writer',
      concurrency: 2,
      defaultPolicy: {security: 'deny'},
    });
    const {task} = await acceptTask(ws, {agentType: 'writer', message: 'hi', policy: {security: 'full'}});
    expect(task).toMatchObject({agentId: agent.agentId, policy: {security: 'deny'}});
    expect((await lookAt(ws, 'task', task.taskId))!.pool).toMatchObject({desired: 2, agentId: agent.agentId});
    await updateAgent(ws, agent.agentId, {active: false}, agent.version);
    await expect(acceptTask(ws, {agentType: 'writer', message: 'hi'})).rejects.toMatchObject({
      code: 'AGENT_INACTIVE',
    });
    await expect(updateAgent(ws, agent.agentId, {active: true}, agent.version)).rejects.toMatchObject({
      code: 'VERSION_CONFLICT',
    });
    await expect(createAgent(ws, {agentKey: 'writer'})).rejects.toMatchObject({code: 'AGENT_EXISTS'});
  });
});
