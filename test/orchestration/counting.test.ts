/** How many workers people are told of when a run is sent. */
import {expect, test} from 'vitest';
import {orchestratorDeps} from '../../src/orchestration/deps.js';
import {counting} from '../../src/orchestration/dispatch.js';
import {describeEachStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';
import {workspaceOf} from './support.js';

describeEachStore('a dispatcher', at => {
  test('counts the workers of an agent type once for all it sends, and anew where nobody was', async () => {
    at.breaksRules('dead-workers');
    const store = at.open();
    const routable = counting(orchestratorDeps(workspaceOf(store)));
    const [first, second] = [routable('py'), routable('py')];
    expect(second).toBe(first);
    expect(routable('other')).not.toBe(first);
    expect(await first).toBe(0);
    await new PlainWorker(store, at.redis(), 'py-1', 'py').online();
    expect(await routable('py')).toBe(1);
  });
});
