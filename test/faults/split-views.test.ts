/**
 * Managers that do not see the same: one has lost Redis for a while, was replaced meanwhile, and comes back with what it
 * knew then. Everybody who waits is answered by whoever leads, and what is released is released once.
 */
import {expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import type {ProviderDecision} from '../../src/availability/provider.js';
import {silentLogger} from '../../src/log.js';
import {encodePendingDelivery} from '../../src/protocol/delivery.js';
import {readWakeupDecision, type WakeupDecision, type WakeupRequest} from '../../src/protocol/wakeup.js';
import {decideWakeup, holdWakeup, joinWakeup, requestWakeup} from '../../src/store/control-plane.js';
import {claimLease, heartbeat, leave} from '../../src/store/presence.js';
import {openStore, type Store} from '../../src/store/store.js';
import {wakeupWaiters} from '../../src/store/wakeup-waiters.js';
import {startFaultProxy} from '../support/fault-proxy.js';
import {describeEachServer, describeEachStore, until, type TestStore} from '../support/stores.js';
import {deadLetters, TYPE} from './support.js';

const LEASE_MS = 600;

const request = (executionId: string): WakeupRequest => ({
  ...{executionId, targetAgentType: TYPE, sessionId: 's', traceId: 't', messageId: `m-${executionId}`},
  ...{source: 'client', policy: 'WAKE_AND_WAIT', timeoutMs: 60_000, userCode: '', region: '', priority: 0},
  ...{metadata: {}, commandPayload: {executionId}},
});

const decision = (status: string, executionId = 'exec-1'): WakeupDecision => ({
  ...{executionId, targetAgentType: TYPE, status, selectedAgentType: '', workerIds: [], region: ''},
  ...{retryAfterMs: null, reason: ''},
});

async function heard(at: TestStore, store: Store, executionId: string): Promise<string[]> {
  const entries = await at.redis().xrange(store.keys.wakeupResult(executionId), '-', '+');
  return entries.map(([, fields]) => readWakeupDecision(fields[1] ?? '').status);
}

async function bringOnline(store: Store): Promise<() => Promise<void>> {
  const lease = {workerId: 'w1', token: 't', ipAddress: '', ttlMs: 25_000};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes: [TYPE], join: true, nowMs: 1});
  return () => leave(store, lease, [TYPE]);
}

describeEachStore('a manager that was replaced', at => {
  test('tells nobody of its successor’s wakeup, and does not end it', async () => {
    const store = at.open();
    const key = {targetAgentType: TYPE, userCode: '', region: ''};
    expect((await joinWakeup(store, request('exec-1'))).role).toBe('lead');
    // Its successor ends that wakeup; then there is another.
    await decideWakeup(store, request('exec-1'), decision('READY'), true);
    expect((await joinWakeup(store, request('exec-8'))).role).toBe('lead');
    expect((await joinWakeup(store, request('exec-9'))).role).toBe('join');

    await decideWakeup(store, request('exec-1'), decision('STARTING'), false);
    await decideWakeup(store, request('exec-1'), decision('FAILED'), true);
    for (const id of ['exec-8', 'exec-9']) expect(await heard(at, store, id)).toEqual([]);
    expect(await wakeupWaiters(store, key)).toEqual({leader: 'exec-8', executionIds: ['exec-8', 'exec-9']});
    expect(await holdWakeup(store, request('exec-8'))).toBeGreaterThan(0);

    await decideWakeup(store, request('exec-8'), decision('READY', 'exec-8'), true);
    for (const id of ['exec-8', 'exec-9']) expect(await heard(at, store, id)).toEqual(['READY']);
    expect(await wakeupWaiters(store, key)).toEqual({leader: '', executionIds: []});
  });

  test('leaves those who joined it to its successor, who tells them', async () => {
    const store = at.open();
    const {keys} = store;
    expect((await joinWakeup(store, request('exec-1'))).role).toBe('lead');
    expect((await joinWakeup(store, request('exec-2'))).role).toBe('join');
    // It did not say for long that it lives.
    await at.redis().del(keys.wakeupDedupe(TYPE, '', ''));
    expect((await joinWakeup(store, request('exec-3'))).role).toBe('lead');
    await decideWakeup(store, request('exec-1'), decision('FAILED'), true);
    expect(await heard(at, store, 'exec-1')).toEqual(['FAILED']);
    await decideWakeup(store, request('exec-3'), decision('READY', 'exec-3'), true);
    for (const id of ['exec-2', 'exec-3']) expect(await heard(at, store, id)).toEqual(['READY']);
    expect(await heard(at, store, 'exec-1')).toEqual(['FAILED']);
  });
});

describeEachServer('of two managers one that loses Redis for a while', at => {
  /** The same store, through a line that can be cut. */
  async function away(store: Store) {
    const proxy = await startFaultProxy(at.url('manager'));
    at.cleanup(() => proxy.close());
    const url = new URL(store.options.url);
    url.host = new URL(proxy.url).host;
    const far = openStore({...store.options, url: url.href, commandTimeoutMs: 1000});
    at.cleanup(() => far.close());
    return {proxy, far};
  }

  async function manage(
    store: Store,
    managerId: string,
    wakeup: () => Promise<ProviderDecision>,
    leaseMs = LEASE_MS,
  ) {
    const provider = {name: managerId, wakeup};
    const manager = await startManager(store, {provider, managerId, log: silentLogger, leaseMs});
    at.cleanup(() => manager.stop());
  }

  test('is replaced: each asks its provider once, all who wait hear READY, and the late answer ends nothing', async () => {
    const store = at.open();
    const {proxy, far} = await away(store);
    const asked: string[] = [];
    // Only the one that is away may lose it: not the other, because the machine stands still.
    const leaseMs = 3000;
    let answerLate: (answer: ProviderDecision) => void = () => undefined;
    const askFar = () => {
      asked.push('far');
      return new Promise<ProviderDecision>(resolve => (answerLate = resolve));
    };
    await manage(far, 'manager-far', askFar, leaseMs);
    for (const id of ['exec-1', 'exec-2']) await requestWakeup(store, request(id));
    await until(() => asked.length === 1);
    await until(async () => (await at.redis().hlen(store.keys.wakeupWaiters(TYPE, '', ''))) === 2);

    proxy.silence();
    const askNear = (): Promise<ProviderDecision> => {
      asked.push('near');
      return Promise.resolve({status: 'STARTING', reason: 'a node boots'});
    };
    await manage(store, 'manager-near', askNear, leaseMs);
    // One joins the wakeup while nobody it could hear of leads it.
    await requestWakeup(store, request('exec-3'));
    await until(() => asked.length === 2);
    await until(async () => (await at.redis().hlen(store.keys.wakeupWaiters(TYPE, '', ''))) === 3);
    const goAway = await bringOnline(store);
    const final = async (id: string) => (await heard(at, store, id)).filter(status => status !== 'STARTING');
    for (const id of ['exec-1', 'exec-2', 'exec-3']) await until(async () => (await final(id)).length > 0);
    await until(async () => (await at.redis().xlen(store.keys.wakeup())) === 0);
    await goAway();

    await requestWakeup(store, request('exec-9'));
    await until(() => asked.length === 3);
    const before = await at.redis().xlen(store.keys.wakeupResult('exec-1'));
    proxy.heal();
    answerLate({status: 'FAILED', reason: 'what I saw was this'});
    // It either gave up, or says so to the one it asked for, which has had its answer.
    await until(async () => {
      const consumers = (await at
        .redis()
        .xinfo('CONSUMERS', store.keys.wakeup(), 'by_managers')) as unknown[][];
      const far = consumers.map(one => one.map(String)).find(one => one.includes('manager-far'));
      const length = await at.redis().xlen(store.keys.wakeupResult('exec-1'));
      return length > before || (far !== undefined && Number(far[far.indexOf('idle') + 1]) < LEASE_MS);
    });
    await bringOnline(store);
    await until(async () => (await final('exec-9')).length > 0);
    await until(async () => (await at.redis().xlen(store.keys.wakeup())) === 0);

    for (const id of ['exec-2', 'exec-3', 'exec-9']) expect(await final(id), id).toEqual(['READY']);
    expect((await final('exec-1'))[0]).toBe('READY');
    expect(asked).toEqual(['far', 'near', 'near']);
    expect(await deadLetters(at, store)).toEqual([]);
  });

  test.each(['loses what is answered', 'hears and says nothing', 'is cut off'] as const)(
    'and %s while it releases: all is delivered, in order, and nothing twice',
    async fault => {
      const store = at.open();
      const {proxy, far} = await away(store);
      const redis = at.redis();
      const {keys} = store;
      const count = 150;
      const priorityOf = (i: number) => ((i * 7919) % 7) - 3;
      for (let i = 0; i < count; i++) {
        const document = encodePendingDelivery({
          ...{executionId: `exec-${i}`, messageId: `m-${i}`, sessionId: 's', traceId: 't'},
          ...{targetAgentType: TYPE, deliveryStream: '', commandPayload: {i}, userCode: '', region: ''},
          ...{priority: priorityOf(i), metadata: {}},
        });
        await redis.xadd(keys.deliveryPending(), '*', 'data', document);
      }
      const nobody = () => Promise.reject(new Error('not asked'));
      await manage(far, 'manager-far', nobody);
      await until(async () => (await redis.zcard(keys.pendingQueue(TYPE))) === count);
      await bringOnline(store);
      await until(async () => (await redis.zcard(keys.pendingQueue(TYPE))) < count - 5);
      if (fault === 'loses what is answered') proxy.loseReplies();
      else if (fault === 'hears and says nothing') proxy.silence();
      else proxy.cut();
      const left = await redis.zcard(keys.pendingQueue(TYPE));
      await manage(store, 'manager-near', nobody);
      await until(async () => {
        const now = await redis.zcard(keys.pendingQueue(TYPE));
        return now < left || now === 0;
      });
      proxy.heal();
      await until(async () => (await redis.zcard(keys.pendingQueue(TYPE))) === 0);
      const entries = await redis.xrange(keys.ctrlStream(TYPE), '-', '+');
      expect(entries.map(([, fields]) => (JSON.parse(fields[1] ?? '') as {i: number}).i)).toEqual(
        Array.from({length: count}, (_, i) => i).sort((a, b) => priorityOf(b) - priorityOf(a) || a - b),
      );
      expect(await redis.exists(keys.pendingPayloads(TYPE))).toBe(0);
    },
  );
});
