/** An agent type with more hanging wakeups than a manager has slots must not hold up the others. */
import {spawn} from 'node:child_process';
import {resolve} from 'node:path';
import {expect, test} from 'vitest';
import {MAX_AT_ONCE, startManager, type ManagerOptions} from '../../src/availability/manager.js';
import type {ProviderDecision} from '../../src/availability/provider.js';
import {silentLogger} from '../../src/log.js';
import {encodeWakeupRequest, readWakeupDecision, type WakeupRequest} from '../../src/protocol/wakeup.js';
import {MANAGER_GROUP} from '../../src/store/control-plane.js';
import {claimLease, heartbeat} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const HANGING = 'hangs';
const MANY = 2 * MAX_AT_ONCE;

async function manage(
  at: TestStore,
  store: Store,
  wakeup: (request: WakeupRequest) => Promise<ProviderDecision>,
  options: Partial<ManagerOptions> = {},
) {
  const provider = {name: 'test', wakeup};
  const manager = await startManager(store, {provider, log: silentLogger, ...options});
  at.cleanup(() => manager.stop());
  return manager;
}

async function bringOnline(store: Store, agentType: string) {
  const lease = {workerId: `w-${agentType}`, token: 't', ipAddress: '', ttlMs: 25_000};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes: [agentType], join: true, nowMs: 1});
}

/** As many wakeups: each is for another user, so none can join another. */
async function ask(at: TestStore, store: Store, targetAgentType: string, count: number, size = 0) {
  const redis = at.redis();
  const ids = Array.from({length: count}, (_, i) => `exec-${targetAgentType}-${i}`);
  await Promise.all(
    ids.map((executionId, i) => {
      const document = encodeWakeupRequest({
        ...{executionId, targetAgentType, sessionId: 's', traceId: 't', messageId: 'm', source: 'client'},
        ...{policy: 'WAKE_AND_WAIT', timeoutMs: 120_000, userCode: `u-${i}`, region: '', priority: 0},
        ...{metadata: {}, commandPayload: {text: 'x'.repeat(size)}},
      });
      return redis.xadd(store.keys.wakeup(), '*', 'data', document);
    }),
  );
  return ids;
}

async function decided(at: TestStore, store: Store, ids: readonly string[], status: string): Promise<void> {
  const redis = at.redis();
  for (const id of ids) {
    await until(async () => {
      const entries = await redis.xrange(store.keys.wakeupResult(id), '-', '+');
      return entries.some(([, fields]) => readWakeupDecision(fields[1] ?? '').status === status);
    });
  }
}

const settled = (at: TestStore, store: Store) =>
  until(async () => (await at.redis().xlen(store.keys.wakeup())) === 0);

/** Hangs for one type, and says no to the others. */
const half = (): {readonly asked: string[]; wakeup(request: WakeupRequest): Promise<ProviderDecision>} => {
  const asked: string[] = [];
  return {
    asked,
    wakeup: ({targetAgentType, executionId}) => {
      asked.push(executionId);
      if (targetAgentType === HANGING) return new Promise<never>(() => undefined);
      return Promise.resolve({status: 'REJECTED', reason: 'no'});
    },
  };
};

describeEachStore('hundreds of wakeups of one type that hang', at => {
  test('keep no other type waiting, and are all answered once a worker comes', async () => {
    const store = at.open();
    const provider = half();
    const manager = await manage(at, store, request => provider.wakeup(request));
    const hanging = await ask(at, store, HANGING, MANY, 1000);
    await until(() => manager.underWay === MANY);
    expect(provider.asked).toHaveLength(MAX_AT_ONCE / 2);
    const others = await Promise.all([1, 2, 3].map(i => ask(at, store, `other-${i}`, 20)));
    await decided(at, store, others.flat(), 'REJECTED');
    // A decision is there a moment before its wakeup is settled.
    await until(() => manager.underWay === MANY);
    await bringOnline(store, HANGING);
    await decided(at, store, hanging, 'READY');
    await settled(at, store);
    await until(() => manager.underWay === 0);
  });

  test('are left to another manager at once when theirs stops, those that wait for a slot too', async () => {
    const store = at.open();
    const provider = half();
    const first = await manage(at, store, request => provider.wakeup(request), {leaseMs: 60_000});
    const hanging = await ask(at, store, HANGING, MANY);
    await until(() => first.underWay === MANY);
    await first.stop();
    await bringOnline(store, HANGING);
    await manage(at, store, request => provider.wakeup(request), {leaseMs: 60_000});
    await decided(at, store, hanging, 'READY');
    await settled(at, store);
  });

  test('are taken up by another manager when theirs is killed', {timeout: 120_000}, async () => {
    const store = at.open();
    const options = {
      store: {url: at.url('manager'), prefix: store.keys.prefix, keySchema: store.keys.schema},
      manager: {leaseMs: 1500},
    };
    const file = resolve(import.meta.dirname, '../faults/manager.mjs');
    const child = spawn(process.execPath, [file, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    at.cleanup(() => child.kill('SIGKILL'));
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (said += part));
    const hanging = await ask(at, store, HANGING, MANY);
    const taken = async () => (await at.redis().xpending(store.keys.wakeup(), MANAGER_GROUP))[0];
    await until(async () => said.includes('ready') && (await taken()) === MANY);
    child.kill('SIGKILL');
    await bringOnline(store, HANGING);
    const provider = half();
    await manage(at, store, request => provider.wakeup(request), {leaseMs: 1500});
    await decided(at, store, hanging, 'READY');
    await settled(at, store);
  });
});
