/**
 * T2: a manager is killed before each single Redis command of a wakeup and of a pending delivery, from the first it gives
 * to the last. Another carries on: everybody who waits is answered, every delivery goes once, every dead letter is one.
 */
import {expect, test} from 'vitest';
import {startManager, type ManagerOptions} from '../../src/availability/manager.js';
import type {ProviderDecision} from '../../src/availability/provider.js';
import {GatewayClient} from '../../src/client/client.js';
import type {SendResult} from '../../src/availability/send.js';
import {silentLogger} from '../../src/log.js';
import {encodeWakeupRequest, readWakeupDecision, type WakeupDecision} from '../../src/protocol/wakeup.js';
import {MANAGER_GROUP} from '../../src/store/control-plane.js';
import {claimLease, heartbeat} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {atEveryDeath, type Mortal} from '../support/crash.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {deadLetters, recordOf, TYPE} from './support.js';

const WAITERS = ['exec-1', 'exec-2', 'exec-3'];

/** One manager until it dies, or until its work is done. */
async function live({store, diedBefore}: Mortal, options: ManagerOptions, isDone: () => Promise<boolean>) {
  const dead = () => diedBefore() !== undefined;
  const manager = await startManager(store, {log: silentLogger, leaseMs: 30_000, ...options}).catch(
    (error: unknown) => {
      if (!dead()) throw error;
      return undefined;
    },
  );
  await until(async () => dead() || (await isDone()));
  return manager;
}

/** The one who comes after: it takes up at once what has been left. */
async function carryOn(at: TestStore, store: Store, options: ManagerOptions): Promise<void> {
  const manager = await startManager(store, {log: silentLogger, leaseMs: 100, ...options});
  at.cleanup(() => manager.stop());
}

async function bringOnline(store: Store): Promise<void> {
  const lease = {workerId: 'w1', token: 't', ipAddress: '', ttlMs: 25_000};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes: [TYPE], join: true, nowMs: 1});
}

interface Asked {
  readonly by: string;
  readonly executionId: string;
}

describeEachStore('a manager that is killed before any command', at => {
  async function ask(store: Store): Promise<void> {
    for (const executionId of WAITERS) {
      const document = encodeWakeupRequest({
        ...{executionId, targetAgentType: TYPE, sessionId: 's', traceId: 't', messageId: `m-${executionId}`},
        ...{source: 'client', policy: 'WAKE_AND_WAIT', timeoutMs: 60_000, userCode: '', region: ''},
        ...{priority: 0, metadata: {}, commandPayload: {executionId}},
      });
      await store.commands.run(client => client.xadd(store.keys.wakeup(), '*', 'data', document));
    }
  }

  async function finals(store: Store, executionId: string): Promise<WakeupDecision[]> {
    const stream = store.keys.wakeupResult(executionId);
    const entries = await store.commands.run(client => client.xrange(stream, '-', '+'));
    return entries
      .map(([, fields]) => readWakeupDecision(fields[1] ?? ''))
      .filter(({status}) => status !== 'STARTING' && status !== 'QUEUED');
  }

  const isSettled = async (store: Store, stream: string): Promise<boolean> => {
    if ((await store.commands.run(client => client.xlen(stream))) > 0) return false;
    const [pending] = (await store.commands.run(client => client.xpending(stream, MANAGER_GROUP))) as [
      number,
    ];
    return pending === 0;
  };

  /** Kill one manager at each step of a wakeup; what the other makes of it. */
  async function killAtEachStep(
    wakeup: (store: Store) => Promise<ProviderDecision>,
    check: (store: Store) => Promise<void>,
  ): Promise<string[]> {
    return atEveryDeath(
      () => at.open(),
      async store => {
        await ask(store);
        const asked: Asked[] = [];
        const provider = (by: string) => ({
          name: by,
          wakeup: ({executionId}: {executionId: string}) => {
            asked.push({by, executionId});
            return wakeup(store);
          },
        });
        return {asked, provider};
      },
      async (mortal, {provider}, store) => {
        const options = {provider: provider('first'), roles: ['wakeups']} as const;
        const manager = await live(mortal, options, () => isSettled(store, store.keys.wakeup()));
        await manager?.stop();
      },
      async (store, {asked, provider}, diedBefore) => {
        await carryOn(at, store, {provider: provider('second'), roles: ['wakeups']});
        await until(() => isSettled(store, store.keys.wakeup()));
        for (const executionId of WAITERS) {
          const heard = await finals(store, executionId);
          const what = `${executionId}, killed before ${diedBefore}`;
          // Twice if it was told and its entry was not acknowledged: a caller hears the first.
          expect(heard.length, what).toBeGreaterThanOrEqual(1);
          expect(heard.length, what).toBeLessThanOrEqual(2);
          expect(new Set(heard.map(({status}) => status)).size, what).toBe(1);
        }
        // One manager asks once for one wakeup.
        expect(new Set(asked.map(({by, executionId}) => `${by} ${executionId}`)).size).toBe(asked.length);
        const {wakeupDedupe, wakeupWaiters} = store.keys;
        for (const key of [wakeupDedupe(TYPE, '', ''), wakeupWaiters(TYPE, '', '')])
          expect(await store.commands.run(client => client.exists(key)), key).toBe(0);
        await check(store);
      },
    );
  }

  const statusOf = async (store: Store, id: string) => (await finals(store, id))[0]?.status;

  test('of a wakeup that a worker answers: every waiter hears READY', {timeout: 120_000}, async () => {
    const points = await killAtEachStep(
      async store => {
        await bringOnline(store);
        return {status: 'READY'};
      },
      async store => {
        for (const id of WAITERS) expect(await statusOf(store, id)).toBe('READY');
        expect(await deadLetters(at, store)).toEqual([]);
      },
    );
    for (const step of ['xgroup', 'xreadgroup', 'join-wakeup', 'xack', 'xdel'])
      expect(points).toContain(step);
    expect(points).toContain(at.kind === 'cluster' ? 'close-wakeup' : 'decide-wakeup');
  });

  test('of a wakeup whose worker is announced: every waiter hears READY', {timeout: 120_000}, async () => {
    const points = await killAtEachStep(
      store => {
        // It comes whether or not the manager that had it started lives.
        void until(
          async () =>
            (await store.commands.run(client => client.exists(store.keys.wakeupResult('exec-1')))) === 1,
        )
          .then(() => bringOnline(store))
          .catch(() => undefined);
        return Promise.resolve({status: 'STARTING', reason: 'a node boots'});
      },
      async store => {
        for (const id of WAITERS) expect(await statusOf(store, id)).toBe('READY');
        expect(await deadLetters(at, store)).toEqual([]);
      },
    );
    expect(points).toContain(at.kind === 'cluster' ? 'close-wakeup' : 'decide-wakeup');
  });

  test(
    'of a wakeup that fails: every waiter hears FAILED, and no command is lost or kept twice',
    {timeout: 120_000},
    async () => {
      const points = await killAtEachStep(
        () => Promise.resolve({status: 'FAILED', reason: 'no image'}),
        async store => {
          for (const id of WAITERS) expect(await statusOf(store, id)).toBe('FAILED');
          const letters = (await deadLetters(at, store)).map(letter => letter['execution_id'] as string);
          expect(letters).toContain('exec-1');
          expect(new Set(letters).size).toBe(letters.length);
        },
      );
      if (at.kind !== 'cluster') expect(points).toContain('dead-letter');
    },
  );

  /** Three deliveries, the second of which goes first, and an entry that is none before the last. */
  async function hold(store: Store): Promise<SendResult[]> {
    const client = new GatewayClient(store);
    const send = (priority: number) =>
      client.send({agentType: TYPE, content: 'x', policy: 'QUEUE_ONLY', priority});
    const [first, second] = [await send(0), await send(5)];
    await store.commands.run(redis => redis.xadd(store.keys.deliveryPending(), '*', 'data', 'no JSON'));
    return [first, second, await send(0)];
  }

  const provider = {name: 'none', wakeup: () => Promise.reject(new Error('not asked'))};

  test(
    'of pending deliveries: each is delivered once, best first, and what is none is kept once',
    {timeout: 120_000},
    async () => {
      const {length: all} = [1, 2, 3];
      const queueLength = (store: Store) =>
        store.commands.run(redis => redis.zcard(store.keys.pendingQueue(TYPE)));
      const delivered = (store: Store) =>
        store.commands.run(redis => redis.xlen(store.keys.ctrlStream(TYPE)));
      const points = await atEveryDeath(
        () => at.open(),
        hold,
        async (mortal, _, store) => {
          let isOnline = false;
          const manager = await live(mortal, {provider, roles: ['pending']}, async () => {
            if (!isOnline && (await queueLength(store)) === all) {
              isOnline = true;
              await bringOnline(store);
            }
            return (await delivered(store)) === all && (await queueLength(store)) === 0;
          });
          await manager?.stop();
        },
        async (store, sent, diedBefore) => {
          const {keys} = store;
          await carryOn(at, store, {provider, roles: ['pending']});
          await until(() => isSettled(store, keys.deliveryPending()));
          await bringOnline(store);
          await until(async () => (await delivered(store)) >= all && (await queueLength(store)) === 0);
          const entries = await store.commands.run(redis => redis.xrange(keys.ctrlStream(TYPE), '-', '+'));
          const ids = entries.map(
            ([, fields]) => (JSON.parse(fields[1] ?? '') as {header: {message_id: string}}).header.message_id,
          );
          const [first, second, third] = sent.map(({messageId}) => messageId);
          expect(ids, `killed before ${diedBefore}`).toEqual([second, first, third]);
          for (const one of sent)
            expect(await recordOf(store, one)).toMatchObject({
              status: 'QUEUED',
              streamName: keys.ctrlStream(TYPE),
            });
          expect(await deadLetters(at, store)).toMatchObject([{source: 'pending', x_data: 'no JSON'}]);
          expect(await store.commands.run(redis => redis.exists(keys.pendingPayloads(TYPE)))).toBe(0);
        },
      );
      const steps =
        at.kind === 'cluster'
          ? ['zadd', 'hset', 'patch-record', 'append-once', 'zrem', 'hdel', 'xdel', 'xack']
          : ['take-pending', 'release-pending', 'dead-letter'];
      for (const step of steps) expect(points).toContain(step);
    },
  );

  test(
    'of pending deliveries at their deadline: each fails once and is kept once',
    {timeout: 120_000},
    async () => {
      const options = {provider, roles: ['pending'], pendingDeadlineMs: 1} as const;
      const points = await atEveryDeath(
        () => at.open(),
        hold,
        async (mortal, _, store) => {
          const manager = await live(
            mortal,
            options,
            async () => (await deadLetters(at, store)).length === 4,
          );
          await manager?.stop();
        },
        async (store, sent, diedBefore) => {
          await carryOn(at, store, options);
          const queue = store.keys.pendingQueue(TYPE);
          await until(() => isSettled(store, store.keys.deliveryPending()));
          await until(async () => (await store.commands.run(redis => redis.exists(queue))) === 0);
          const letters = await deadLetters(at, store);
          expect(letters.map(letter => letter['execution_id']).sort(), `killed before ${diedBefore}`).toEqual(
            ['', ...sent.map(({executionId}) => executionId)].sort(),
          );
          for (const one of sent)
            expect(await recordOf(store, one)).toMatchObject({
              status: 'FAILED',
              errorCode: 'DELIVERY_EXPIRED',
            });
        },
      );
      expect(points).toContain(at.kind === 'cluster' ? 'append-once' : 'release-pending');
    },
  );
});
