/** Agent types whose workers have used up their quota: what each policy makes of it. */
import {describe, expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import type {SendProgress, SendRequest} from '../../src/availability/send.js';
import {GatewayClient} from '../../src/client/client.js';
import {ByError} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import {timesOf} from '../../src/protocol/delivery.js';
import {listHeld} from '../../src/registry/pending-deliveries.js';
import {AgentStatusService} from '../../src/registry/agent-status-service.js';
import {setFallback} from '../../src/store/admission.js';
import {createStatusKeys} from '../../src/protocol/orchestration/status-keys.js';
import {serverTimeMs} from '../../src/store/store.js';
import {FOREIGN_RULES, foreignWorker} from '../support/status.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'writer';
const HOUR = 3_600_000;

/** Workers of the type, of which some are exhausted for so many milliseconds. */
async function open(
  at: TestStore,
  workers: Readonly<Record<string, {readonly exhaustedMs?: number; readonly online?: false}>>,
) {
  at.breaksRules(...FOREIGN_RULES, 'deliveryPending', 'wakeup', 'dead-workers');
  const store = at.open();
  const service = new AgentStatusService(store);
  const lastSeen = Math.floor(await serverTimeMs(store));
  for (const [id, {exhaustedMs, online}] of Object.entries(workers)) {
    await foreignWorker(store, id, {lastSeen, agentType: TYPE});
    await service.heartbeat(id, {agentTypes: [TYPE]});
    if (exhaustedMs !== undefined)
      await service.exhaust(id, {reason: 'rate_limit', recoveryInMs: exhaustedMs});
    if (online === false) await store.commands.run(redis => redis.del(store.keys.workerLease(id)));
  }
  const client = new GatewayClient(store);
  const told: SendProgress[] = [];
  const send = (request: Partial<SendRequest> = {}) =>
    client.send({agentType: TYPE, content: 'hi', onProgress: one => void told.push(one), ...request});
  const refused = async (request: Partial<SendRequest> = {}): Promise<ByError> => {
    try {
      await send(request);
    } catch (error) {
      if (error instanceof ByError) return error;
      throw error;
    }
    throw new Error('it was taken');
  };
  const lengthOf = (key: string) => store.commands.run(redis => redis.xlen(key));
  return {
    ...{store, service, client, send, refused, told},
    queued: () => lengthOf(store.keys.ctrlStream(TYPE)),
    wakeups: () => lengthOf(store.keys.wakeup()),
    held: () => lengthOf(store.keys.deliveryPending()),
  };
}

describeEachStore('an agent type', at => {
  test('one of whose workers is exhausted is served by the others', async () => {
    const {send, queued, told} = await open(at, {a: {exhaustedMs: HOUR}, b: {}, c: {exhaustedMs: HOUR}});
    expect(await send()).toMatchObject({status: 'DELIVER_NOW'});
    // Whoever was seen online a moment ago is looked at too.
    expect(await send()).toMatchObject({status: 'DELIVER_NOW'});
    expect(await queued()).toBe(2);
    expect(told).toEqual([]);
  });

  test('whose last able worker gets exhausted is refused from then on', async () => {
    const {send, refused, service} = await open(at, {a: {exhaustedMs: HOUR}, b: {}});
    await send();
    await service.exhaust('b', {reason: 'billing', recoveryInMs: 2 * HOUR});
    const error = await refused();
    expect(error.code).toBe('AGENT_TYPE_EXHAUSTED');
    expect(error.details).toMatchObject({exhausted: 2, offline: 0});
    await service.recover('b', {by: 'maria', note: 'paid'});
    expect(await send()).toMatchObject({status: 'DELIVER_NOW'});
  });

  describe('whose workers are all exhausted', () => {
    test('FAIL_FAST is refused with the time of the first recovery, and says so in the session', async () => {
      const {refused, client, queued} = await open(at, {a: {exhaustedMs: 2 * HOUR}, b: {exhaustedMs: HOUR}});
      const error = await refused({sessionId: 's', messageId: 'm'});
      expect(error).toMatchObject({code: 'AGENT_TYPE_EXHAUSTED', exitCode: 5, retryable: true});
      expect(error.message).toBe(`Every online worker of "${TYPE}" has used up its quota: 2 exhausted.`);
      const {retryAfterMs} = error.details as {retryAfterMs: number};
      expect(retryAfterMs).toBeLessThanOrEqual(HOUR);
      expect(retryAfterMs).toBeGreaterThan(HOUR - 60_000);
      expect(await client.find('s', 'm')).toMatchObject({status: 'FAILED', errorCode: error.code});
      expect(await queued()).toBe(0);
    });

    test('SEND_ANYWAY is put on the stream, and the sender is told', async () => {
      const {send, queued, told} = await open(at, {a: {exhaustedMs: HOUR}});
      const sent = await send({policy: 'SEND_ANYWAY'});
      expect(sent).toMatchObject({status: 'DELIVER_NOW', exhausted: {workers: 1, offline: 0}});
      expect(told).toMatchObject([{kind: 'exhausted', agentType: TYPE, waits: false}]);
      expect(await queued()).toBe(1);
    });

    test('WAKE_AND_WAIT waits for a recovery within its time, and wakes nobody', async () => {
      const {send, queued, wakeups, told} = await open(at, {a: {exhaustedMs: 3000}});
      expect(await send({policy: 'WAKE_AND_WAIT'})).toMatchObject({status: 'WAIT_AND_DELIVER'});
      expect([await queued(), await wakeups()]).toEqual([1, 0]);
      expect(told).toMatchObject([{kind: 'exhausted', waits: true}]);
    });

    test('WAKE_AND_WAIT is refused at once, if nobody recovers within its time', async () => {
      const {refused, wakeups} = await open(at, {a: {exhaustedMs: HOUR}});
      const error = await refused({policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 20_000});
      expect(error.code).toBe('AGENT_TYPE_EXHAUSTED');
      expect(await wakeups()).toBe(0);
    });

    test('WAKE_AND_WAIT takes a worker that comes meanwhile', async () => {
      const {send, store, told} = await open(at, {a: {exhaustedMs: 25_000}});
      const sending = send({policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 30_000});
      await until(() => told.length > 0);
      await foreignWorker(store, 'new', {lastSeen: Math.floor(await serverTimeMs(store)), agentType: TYPE});
      expect(await sending).toMatchObject({status: 'WAIT_AND_DELIVER'});
    });

    test.each(['WAKE_AND_QUEUE', 'QUEUE_ONLY'] as const)(
      '%s holds it back, and wakes nobody',
      async policy => {
        const {send, held, wakeups, store} = await open(at, {a: {exhaustedMs: HOUR}});
        const before = await serverTimeMs(store);
        expect(await send({policy})).toMatchObject({status: 'QUEUE_PENDING'});
        expect([await held(), await wakeups()]).toEqual([1, 0]);
        const [one] = (await listHeld(store, {limit: 1})).deliveries;
        const {notBefore = 0, wakeMs} = timesOf(one!.delivery!);
        expect(notBefore).toBeGreaterThan(before + HOUR - 60_000);
        expect(notBefore).toBeLessThanOrEqual((await serverTimeMs(store)) + HOUR);
        expect(wakeMs).toBe(policy === 'WAKE_AND_QUEUE' ? 30_000 : undefined);
      },
    );

    test('who waits for them is woken for when they are gone at the time they were to recover, once', async () => {
      const {send, store} = await open(at, {a: {exhaustedMs: 5000}});
      await send({policy: 'QUEUE_ONLY', content: 'never'});
      const sent = await send({policy: 'WAKE_AND_QUEUE', region: 'eu'});
      const [, one] = (await listHeld(store, {limit: 2})).deliveries;
      const {notBefore = 0} = timesOf(one!.delivery!);
      await store.commands.run(redis => redis.del(store.keys.workerLease('a')));
      const asked: {readonly executionId: string; readonly region: string; readonly at: number}[] = [];
      for (const managerId of ['m-1', 'm-2']) {
        const manager = await startManager(store, {
          ...{log: silentLogger, managerId},
          provider: {
            name: 'watcher',
            wakeup: async ({executionId, region}) => {
              asked.push({executionId, region, at: await serverTimeMs(store)});
              return {status: 'REJECTED', reason: 'none left'};
            },
          },
        });
        at.cleanup(() => manager.stop());
      }
      await until(() => asked.length > 0);
      expect(asked[0]).toMatchObject({executionId: sent.executionId, region: 'eu'});
      expect(asked[0]!.at).toBeGreaterThanOrEqual(notBefore);
      // Each manager has looked through the queue again.
      const looks = await serverTimeMs(store);
      await until(async () => (await serverTimeMs(store)) > looks + 2500);
      expect(asked).toHaveLength(1);
    });

    test('nobody is woken while who is there recovers later than was said', async () => {
      const {send, store, service, wakeups, queued} = await open(at, {a: {exhaustedMs: 1500}});
      await send({policy: 'WAKE_AND_QUEUE'});
      await service.exhaust('a', {reason: 'rate_limit', recoveryInMs: 5000});
      const provider = mockProvider({mode: {kind: 'reject'}});
      const manager = await startManager(store, {provider, log: silentLogger});
      at.cleanup(() => manager.stop());
      await until(async () => (await queued()) === 1);
      expect(await wakeups()).toBe(0);
    });

    test('what is held back is delivered when the first recovers', async () => {
      const {send, queued, store} = await open(at, {a: {exhaustedMs: 2000}});
      await send({policy: 'QUEUE_ONLY'});
      const provider = mockProvider({mode: {kind: 'reject'}});
      const manager = await startManager(store, {provider, log: silentLogger});
      at.cleanup(() => manager.stop());
      await until(async () => {
        const held = await store.commands.run(redis => redis.zcard(store.keys.pendingQueue(TYPE)));
        // It may have been delivered between two looks.
        return held === 1 || (await queued()) === 1;
      });
      const recoversAt = await until(async () => {
        const status = await new AgentStatusService(store).get('a');
        return status?.recoveryAt ?? undefined;
      });
      await until(async () => (await queued()) === 1);
      expect(await serverTimeMs(store)).toBeGreaterThanOrEqual(recoversAt);
    });

    test('a stand-in takes it, unless it is exhausted too', async () => {
      const {send, refused, store, service} = await open(at, {a: {exhaustedMs: HOUR}});
      const lastSeen = Math.floor(await serverTimeMs(store));
      await foreignWorker(store, 'x', {lastSeen, agentType: 'editor'});
      await setFallback(store, TYPE, {selectedAgentType: 'editor'});
      expect(await send()).toMatchObject({selectedAgentType: 'editor'});
      await service.heartbeat('x', {agentTypes: ['editor']});
      await service.exhaust('x', {reason: 'billing'});
      expect((await refused()).code).toBe('AGENT_TYPE_EXHAUSTED');
    });

    test('it is served again when its time has come, though nobody sweeps', async () => {
      const {refused, send, store} = await open(at, {a: {exhaustedMs: 3000}});
      expect((await refused()).code).toBe('AGENT_TYPE_EXHAUSTED');
      const key = createStatusKeys(store.keys.prefix).exhaustedWorkers(TYPE);
      await until(async () => (await store.commands.run(redis => redis.exists(key))) === 0);
      expect(await send()).toMatchObject({status: 'DELIVER_NOW'});
    });
  });

  describe('of whose workers some are exhausted and the others offline', () => {
    const mix = {a: {exhaustedMs: HOUR}, b: {online: false}, c: {online: false}} as const;

    test('FAIL_FAST is refused with both counts', async () => {
      const {refused} = await open(at, mix);
      const error = await refused();
      expect(error.code).toBe('AGENT_TYPE_EXHAUSTED');
      expect(error.details).toMatchObject({exhausted: 1, offline: 2});
    });

    test('WAKE_AND_WAIT asks for a worker, and is refused with both counts', async () => {
      const {refused, wakeups} = await open(at, mix);
      const error = await refused({policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 50});
      expect(error.details).toMatchObject({exhausted: 1, offline: 2});
      expect(error.code).toBe('AGENT_TYPE_EXHAUSTED');
      expect(await wakeups()).toBe(1);
    });

    test('WAKE_AND_QUEUE asks for one too, and a provider is really asked', async () => {
      const {send, store} = await open(at, mix);
      const asked: string[] = [];
      const manager = await startManager(store, {
        log: silentLogger,
        provider: {
          name: 'watcher',
          wakeup: request => {
            asked.push(request.targetAgentType);
            return Promise.resolve({status: 'REJECTED', reason: 'none left'});
          },
        },
      });
      at.cleanup(() => manager.stop());
      await send({policy: 'WAKE_AND_QUEUE'});
      await until(() => asked.length > 0);
      expect(asked[0]).toBe(TYPE);
    });
  });

  test('nobody of which is online is not exhausted, but unavailable', async () => {
    const {refused} = await open(at, {a: {exhaustedMs: HOUR, online: false}, b: {online: false}});
    expect((await refused()).code).toBe('AGENT_TYPE_UNAVAILABLE');
  });

  test('whose record of exhaustions can not be read is served', async () => {
    const {send, store} = await open(at, {a: {exhaustedMs: HOUR}});
    const key = createStatusKeys(store.keys.prefix).exhaustedWorkers(TYPE);
    await store.commands.run(redis => redis.set(key, 'not JSON', 'EX', 60));
    expect(await send()).toMatchObject({status: 'DELIVER_NOW'});
  });
});

describeEachStore('a command for one worker', at => {
  test('is refused while that one is exhausted, whoever else there is', async () => {
    const {refused, send, service} = await open(at, {a: {exhaustedMs: HOUR}, b: {}});
    const error = await refused({workerId: 'a'});
    expect(error).toMatchObject({code: 'WORKER_EXHAUSTED', exitCode: 5});
    expect(error.details['retryAfterMs']).toBeLessThanOrEqual(HOUR);
    expect(await send({workerId: 'b'})).toMatchObject({status: 'DIRECT_WORKER'});
    await service.recover('a', {by: 'maria', note: 'x'});
    expect(await send({workerId: 'a'})).toMatchObject({status: 'DIRECT_WORKER'});
  });

  test('goes out all the same by SEND_ANYWAY', async () => {
    const {send} = await open(at, {a: {exhaustedMs: HOUR}});
    expect(await send({workerId: 'a', policy: 'SEND_ANYWAY'})).toMatchObject({status: 'DIRECT_WORKER'});
  });

  test('that is exhausted and away is refused because it is away', async () => {
    const {refused} = await open(at, {a: {exhaustedMs: HOUR, online: false}});
    expect((await refused({workerId: 'a'})).code).toBe('WORKER_NOT_ONLINE');
  });
});
