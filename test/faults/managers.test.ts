/** T2, G9: a manager that dies at any step of a wakeup, and one that is only slow. */
import {expect, test} from 'vitest';
import {startManager, type ManagerOptions} from '../../src/availability/manager.js';
import type {ProviderDecision} from '../../src/availability/provider.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {readWakeupRequest, type WakeupDecision, type WakeupRequest} from '../../src/protocol/wakeup.js';
import {decideWakeup, joinWakeup, MANAGER_GROUP} from '../../src/store/control-plane.js';
import {ensureGroup, readNew} from '../../src/store/control-streams.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {TYPE, withStatus, work} from './support.js';

const LEASE_MS = 600;

async function manage(
  at: TestStore,
  store: Store,
  wakeup: (request: WakeupRequest) => Promise<ProviderDecision>,
  options: Partial<ManagerOptions> = {},
) {
  const provider = {name: 'test', wakeup};
  const manager = await startManager(store, {provider, log: silentLogger, leaseMs: LEASE_MS, ...options});
  at.cleanup(() => manager.stop());
  return manager;
}

/** A manager that takes the next wakeup, goes so far with it, and is never heard of again. */
async function dieAfter(store: Store, step: 'reading' | 'leading' | 'deciding'): Promise<void> {
  const stream = store.keys.wakeup();
  await ensureGroup(store, stream, MANAGER_GROUP);
  const reader = store.blocking('dead', stream);
  const entry = await until(async () => {
    const read = {streams: [stream], group: MANAGER_GROUP, consumer: 'manager-dead', count: 1, blockMs: 100};
    return (await readNew(store, reader, read))[0];
  });
  reader.close();
  if (step === 'reading') return;
  const request = readWakeupRequest(entry.data ?? '');
  expect(await joinWakeup(store, request)).toMatchObject({role: 'lead'});
  if (step === 'leading') return;
  const starting: WakeupDecision = {
    ...{executionId: request.executionId, targetAgentType: TYPE, status: 'STARTING', selectedAgentType: ''},
    ...{workerIds: [], region: '', retryAfterMs: null, reason: ''},
  };
  await decideWakeup(store, request, starting, false);
}

describeEachStore('a manager', at => {
  test.each(['reading', 'leading', 'deciding'] as const)(
    'that dies after %s a wakeup leaves it to another: all who wait are answered in time',
    async step => {
      const store = at.open();
      const client = new GatewayClient(store);
      const wait = () =>
        client.send({
          agentType: TYPE,
          content: 'x',
          policy: 'WAKE_AND_WAIT',
          availabilityTimeoutMs: 20_000,
          userCode: 'u',
        });
      const first = wait();
      await dieAfter(store, step);
      // These join a wakeup whose leader is dead already.
      const others = [wait(), wait()];
      let asked = 0;
      await manage(at, store, async () => {
        asked++;
        await work(at, store, () => 'done', {leaseMs: 10_000});
        return {status: 'READY'};
      });
      for (const sent of await Promise.all([first, ...others])) await withStatus(store, sent, 'COMPLETED');
      expect(asked).toBe(1);
      const redis = at.redis();
      await until(async () => (await redis.xpending(store.keys.wakeup(), MANAGER_GROUP))[0] === 0);
      await until(async () => (await redis.xlen(store.keys.wakeup())) === 0);
    },
  );

  test('that stops leaves no name behind', async () => {
    const store = at.open();
    const redis = at.redis();
    const manager = await manage(at, store, () => Promise.resolve({status: 'REJECTED', reason: 'no'}));
    const consumers = async () =>
      (await redis.xinfo('CONSUMERS', store.keys.wakeup(), MANAGER_GROUP)) as unknown[];
    await redis.xadd(store.keys.wakeup(), '*', 'data', '{"execution_id":"exec-1","target_agent_type":"x"}');
    await until(async () => (await consumers()).length === 1);
    await until(async () => (await redis.xlen(store.keys.wakeup())) === 0);
    await manager.stop();
    expect(await consumers()).toEqual([]);
  });

  test('whose provider takes longer than any lease is not taken for dead', async () => {
    const store = at.open();
    const redis = at.redis();
    // Long, for it must not lapse because the machine stands still.
    const leaseMs = 4000;
    let asked = 0;
    let answer: () => void = () => undefined;
    const answered = new Promise<void>(resolve => (answer = resolve));
    const slow = async (): Promise<ProviderDecision> => {
      asked++;
      await answered;
      await work(at, store, () => 'done', {leaseMs: 10_000});
      return {status: 'READY'};
    };
    await manage(at, store, slow, {managerId: 'manager-1', leaseMs});
    await manage(at, store, slow, {managerId: 'manager-2', leaseMs});
    const sending = new GatewayClient(store).send({agentType: TYPE, content: 'x', policy: 'WAKE_AND_WAIT'});
    await until(() => asked === 1);
    const begun = Number((await redis.time())[0]);
    await until(async () => Number((await redis.time())[0]) - begun > (1.5 * leaseMs) / 1000);
    expect(asked).toBe(1);
    answer();
    await withStatus(store, await sending, 'COMPLETED');
    expect(asked).toBe(1);
  });
});
