/** Who has a session keeps it until there is proof that nothing of it runs any more. */
import {expect, test} from 'vitest';
import {orchestratorDeps, type OrchestratorTimes} from '../../src/orchestration/deps.js';
import {dispatchPass} from '../../src/orchestration/dispatch.js';
import {reconcileStaleSessionLease} from '../../src/orchestration/reconcile.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {execField} from '../../src/protocol/execution.js';
import {lookAt} from '../../src/store/orchestration.js';
import type {Store} from '../../src/store/store.js';
import {mortal} from '../support/crash.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';
import {times, workspaceOf} from './support.js';

const SESSION = 's-1';
const AT_ONCE: Partial<OrchestratorTimes> = {lostAfterMs: 0, stopGraceMs: 0};
const depsOf = (store: Store) => orchestratorDeps(workspaceOf(store), {times: AT_ONCE});

/** A session held by an attempt that was sent. */
async function held(at: TestStore) {
  at.breaksRules('dead-workers', 'ctrlStream');
  const store = at.open();
  const deps = depsOf(store);
  const plain = await new PlainWorker(store, at.redis(), 'py:1', 'py').online();
  const {runId} = await acceptTask(deps.workspace, {agentType: 'py', message: 'hi', sessionId: SESSION});
  await dispatchPass(deps);
  const {attempt} = (await lookAt(deps.workspace, 'run', runId))!;
  const owner = `py:1:${attempt!.executionId}`;
  const look = async () => (await lookAt(deps.workspace, 'run', runId))!;
  return {
    store,
    deps,
    plain,
    runId,
    owner,
    look,
    reconcile: () => reconcileStaleSessionLease(deps, SESSION, owner),
  };
}

describeEachStore('the lease of a session', at => {
  test('is kept while its attempt waits on its stream, and while a worker runs it', async () => {
    const {plain, reconcile, look} = await held(at);
    expect(await reconcile()).toBe(false);
    await plain.take();
    expect(await times(5, () => reconcile())).toEqual([false, false, false, false, false]);
    const {attempt, holder, run} = await look();
    expect(holder).toBe(attempt?.attemptId);
    expect(run?.attemptCount).toBe(1);
  });

  test('is let go once its execution has ended, whoever asks first', async () => {
    const {plain, reconcile, look} = await held(at);
    const taken = await plain.take();
    await plain.answer(taken, 'done');
    await plain.write(taken, {status: 'COMPLETED'});
    expect(await times(5, () => reconcile())).toContain(true);
    expect(await reconcile()).toBe(true);
    expect(await look()).toMatchObject({holder: '', run: {status: 'ok', result: {text: 'done'}}});
  });

  test('is let go once its worker is lost and was stopped; the next attempt has a higher fence', async () => {
    const {deps, plain, reconcile, look} = await held(at);
    await plain.take();
    await plain.die();
    await until(() => reconcile());
    await new PlainWorker(deps.workspace.store, at.redis(), 'py:2', 'py').online();
    await dispatchPass(deps);
    expect(await look()).toMatchObject({
      run: {attemptCount: 2},
      attempt: {strategy: 'recovery', fence: 2, place: 'inflight'},
      fence: 2,
    });
    // Of the first it is not any more, and the second keeps it.
    expect(await reconcile()).toBe(true);
    expect((await look()).holder).not.toBe('');
  });

  test('is let go where nothing is known of its execution two minutes after it was sent, not before', async () => {
    const {store, deps, reconcile, look} = await held(at);
    const {attempt} = await look();
    const {keys, name} = deps.workspace;
    await at.redis().hdel(store.keys.sessionRegistry(SESSION), execField(attempt!.executionId));
    expect(await reconcile()).toBe(false);
    const key = keys.orchAttempt(name, attempt!.attemptId);
    const doc = JSON.parse((await at.redis().hget(key, 'doc')) ?? '') as {phase_at: number};
    await at.redis().hset(key, 'doc', JSON.stringify({...doc, phase_at: doc.phase_at - 121_000}));
    expect(await reconcile()).toBe(true);
    expect((await look()).run?.attemptCount).toBe(2);
  });

  test('is kept where nobody can look, and is nobody else’s', async () => {
    const {store, deps, owner, reconcile, look} = await held(at);
    const blind = orchestratorDeps(workspaceOf(mortal(store, 0).store), {times: AT_ONCE});
    expect(await reconcileStaleSessionLease(blind, SESSION, owner)).toBe(false);
    expect((await look()).holder).not.toBe('');
    expect(await reconcileStaleSessionLease(deps, SESSION, 'py:1:exec-other')).toBe(true);
    expect(await reconcileStaleSessionLease(deps, 'another', owner)).toBe(true);
    expect(await reconcile()).toBe(false);
  });
});
