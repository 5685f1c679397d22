/** What is left when a dispatcher dies between two of its commands, and that whoever comes next sends once. */
import {expect, test} from 'vitest';
import {dispatchPass, repairPass, sendAttempt} from '../../src/orchestration/dispatch.js';
import {claimed} from '../../src/orchestration/dispatching.js';
import {decideOn} from '../../src/orchestration/decide.js';
import {orchestratorDeps} from '../../src/orchestration/deps.js';
import {isBegun} from '../../src/orchestration/ending.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {commandEntries} from './support.js';
import {lookAt} from '../../src/store/orchestration.js';
import type {Store} from '../../src/store/store.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';
import {times, workspaceOf} from './support.js';

const depsOf = (store: Store) => orchestratorDeps(workspaceOf(store), {times: {repairMs: 0}});

describeEachStore('a dispatcher', at => {
  test('that dies after any of its steps is followed by one that sends exactly once', async () => {
    at.breaksRules('dead-workers', 'openOutboxes', 'ctrlStream');
    const points = await atEveryCrash(
      () => at.open(),
      async store => {
        await new PlainWorker(store, at.redis(), 'py-1', 'py').online();
        return acceptTask(workspaceOf(store), {agentType: 'py', message: 'hi'});
      },
      async (store, {runId}) => {
        const deps = depsOf(store);
        const work = await lookAt(deps.workspace, 'run', runId);
        const claim = await decideOn(deps.workspace, 'att', work?.attempt?.attemptId ?? '', one => {
          const decision = isBegun(one) ? claimed(one) : undefined;
          return decision && {decision};
        });
        const attempt = claim?.done?.decision.takes;
        if (claim !== undefined && attempt !== undefined && isBegun(claim.work))
          await sendAttempt(deps, {...claim.work, attempt});
      },
      async (store, {runId}) => {
        const deps = depsOf(store);
        await dispatchPass(deps);
        await repairPass(deps);
        const seen = await lookAt(deps.workspace, 'run', runId);
        expect(seen).toMatchObject({attempt: {dispatchPhase: 'sent', place: 'inflight'}, inflight: 1});
        const [entry, ...more] = await commandEntries(store, 'py');
        expect([entry?.messageId, more]).toEqual([seen?.attempt?.messageId, []]);
      },
    );
    expect(points).toBeGreaterThan(4);
  });

  test('beside nineteen others sends each of twenty once', async () => {
    at.breaksRules('dead-workers', 'ctrlStream');
    const store = at.open();
    await new PlainWorker(store, at.redis(), 'py-1', 'py').online();
    const ws = workspaceOf(store);
    const all = await times(20, i => acceptTask(ws, {agentType: 'py', message: `${i}`, lane: `l${i % 5}`}));
    const deps = depsOf(store);
    await times(20, async i => {
      await dispatchPass(deps);
      if (i % 2 === 0) await repairPass(deps);
    });
    const sent = await commandEntries(store, 'py');
    expect(sent).toHaveLength(all.length);
    expect(new Set(sent.map(({messageId}) => messageId)).size).toBe(all.length);
  });
});
