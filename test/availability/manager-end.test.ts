/** How a manager ends, and what it does if it has only a part of the work: on every store. */
import {expect, test} from 'vitest';
import {startManager, type ManagerOptions} from '../../src/availability/manager.js';
import type {Provider, ProviderDecision} from '../../src/availability/provider.js';
import {silentLogger} from '../../src/log.js';
import type {WakeupRequest} from '../../src/protocol/wakeup.js';
import {decisionsFor, listWakeups} from '../../src/registry/wakeups.js';
import {requestWakeup} from '../../src/store/control-plane.js';
import {listDeadLetters} from '../../src/store/dead-letters.js';
import {streamLength} from '../../src/store/queues.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const request: WakeupRequest = {
  ...{executionId: 'exec-1', targetAgentType: 'ocr', sessionId: 's', traceId: '', messageId: 'msg-1'},
  ...{source: 'client', policy: 'WAKE_AND_WAIT', timeoutMs: 60_000, userCode: '', region: '', priority: 0},
  ...{metadata: {}, commandPayload: {}},
};

/** A provider that was asked, and answers when told to. */
function slowProvider() {
  let answer: (decision: ProviderDecision) => void = () => undefined;
  const asked: AbortSignal[] = [];
  const decision = new Promise<ProviderDecision>(resolve => (answer = resolve));
  const provider: Provider = {
    name: 'slow',
    wakeup: (_request, {signal}) => {
      asked.push(signal);
      return decision;
    },
  };
  return {provider, asked, answer: (given: ProviderDecision) => answer(given)};
}

async function managed(at: TestStore, store: Store, options: ManagerOptions) {
  const manager = await startManager(store, {log: silentLogger, leaseMs: 600, ...options});
  at.cleanup(() => manager.stop());
  return manager;
}

describeEachStore('a manager that ends', at => {
  test('finishes what is under way while it drains, and takes nothing new', async () => {
    const store = at.open();
    const {provider, asked, answer} = slowProvider();
    const manager = await managed(at, store, {provider});
    await requestWakeup(store, request);
    await until(() => asked.length === 1);
    expect(manager.underWay).toBe(1);
    const stopping = manager.stop({drainMs: 20_000});
    await requestWakeup(store, {...request, executionId: 'exec-2', userCode: 'u'});
    answer({status: 'REJECTED', reason: 'no room'});
    await stopping;
    expect(await decisionsFor(store, 'exec-1')).toMatchObject([{status: 'REJECTED', reason: 'no room'}]);
    expect(manager.underWay).toBe(0);
    // The second may have been read by the last read, but then it was answered too.
    const left = await listWakeups(store, 10);
    const answered = await decisionsFor(store, 'exec-2');
    expect(left.length + answered.length).toBe(1);
  });

  test('leaves what is not answered in time to another, without a word or a dead letter', async () => {
    const store = at.open();
    const first = slowProvider();
    const manager = await managed(at, store, {provider: first.provider});
    await requestWakeup(store, request);
    await until(() => first.asked.length === 1);
    await manager.stop({drainMs: 1});
    expect(first.asked[0]?.aborted).toBe(true);
    expect(await decisionsFor(store, 'exec-1')).toEqual([]);
    expect(await listDeadLetters(store, 10)).toEqual([]);
    expect(await listWakeups(store, 10)).toMatchObject([{state: 'started', managerId: manager.managerId}]);

    const second = slowProvider();
    await managed(at, store, {provider: second.provider});
    await until(() => second.asked.length === 1);
    second.answer({status: 'REJECTED', reason: 'no room'});
    await until(async () => (await listWakeups(store, 10)).length === 0);
    expect(await decisionsFor(store, 'exec-1')).toMatchObject([{status: 'REJECTED'}]);
  });

  test('with a second, impatient stop waits no longer', async () => {
    const store = at.open();
    const {provider, asked} = slowProvider();
    const manager = await managed(at, store, {provider});
    await requestWakeup(store, request);
    await until(() => asked.length === 1);
    const stopping = manager.stop({drainMs: 600_000});
    await manager.stop();
    await stopping;
    expect(asked[0]?.aborted).toBe(true);
  });
});

describeEachStore('a manager with one role', at => {
  test('leaves the rest of the work to others', async () => {
    const store = at.open();
    const {provider, asked} = slowProvider();
    const beats = new Set<string>();
    await managed(at, store, {provider, roles: ['pending'], onBeat: beat => void beats.add(beat)});
    await requestWakeup(store, request);
    await store.commands.run(redis => redis.xadd(store.keys.deliveryPending(), '*', 'data', 'no json'));
    await until(async () => (await streamLength(store, store.keys.deliveryPending())) === 0);
    await until(() => beats.size === 2);
    expect([...beats].sort()).toEqual(['pending', 'releases']);
    expect(asked).toEqual([]);
    expect(await listWakeups(store, 10)).toMatchObject([{state: 'waiting'}]);
  });
});
