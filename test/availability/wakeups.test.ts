/** What becomes of a wakeup, whatever the provider, its manager, and those who wait do. Spec §7.5, §7.6, G9. */
import {expect, test} from 'vitest';
import {startManager, type ManagerOptions} from '../../src/availability/manager.js';
import type {Provider, ProviderContext, ProviderDecision} from '../../src/availability/provider.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {encodePendingDelivery} from '../../src/protocol/delivery.js';
import {
  encodeWakeupRequest,
  readWakeupDecision,
  type WakeupDecision,
  type WakeupRequest,
} from '../../src/protocol/wakeup.js';
import {claimLease, heartbeat, leave} from '../../src/store/presence.js';
import {serverTimeMs, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {at as field, rowsOf} from '../interop/vectors.js';
import {as} from '../support/roles.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'writer';

async function manage(
  at: TestStore,
  store: Store,
  wakeup: (request: WakeupRequest, context: ProviderContext) => Promise<ProviderDecision>,
  options: Partial<ManagerOptions> = {},
) {
  const provider: Provider = {name: 'test', wakeup};
  const manager = await startManager(store, {provider, log: silentLogger, ...options});
  at.cleanup(() => manager.stop());
  return manager;
}

const hangs = () => new Promise<never>(() => undefined);

async function bringOnline(store: Store, workerId = 'w1', agentType = TYPE) {
  const lease = {workerId, token: 't', ipAddress: '', ttlMs: 25_000};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes: [agentType], join: true, nowMs: 1});
  return () => leave(store, lease, [agentType]);
}

/** Ask as a caller of another SDK does. */
async function ask(at: TestStore, store: Store, executionId: string, over: Partial<WakeupRequest> = {}) {
  const document = encodeWakeupRequest({
    ...{executionId, targetAgentType: TYPE, sessionId: 's', traceId: 't', messageId: 'm', source: 'client'},
    ...{policy: 'WAKE_AND_WAIT', timeoutMs: 30_000, userCode: '', region: '', priority: 0},
    ...{metadata: {}, commandPayload: {}},
    ...over,
  });
  await at.redis().xadd(store.keys.wakeup(), '*', 'data', document);
}

async function answers(at: TestStore, store: Store, executionId: string): Promise<WakeupDecision[]> {
  const entries = await at.redis().xrange(store.keys.wakeupResult(executionId), '-', '+');
  return entries.map(([, fields]) => readWakeupDecision(fields[1] ?? ''));
}

const statuses = async (at: TestStore, store: Store, id: string) =>
  (await answers(at, store, id)).map(({status}) => status);

/** The answer that ends the wait. */
const ended = (at: TestStore, store: Store, id: string): Promise<WakeupDecision> =>
  until(async () =>
    (await answers(at, store, id)).find(({status}) => status !== 'STARTING' && status !== 'QUEUED'),
  );

const idle = (at: TestStore, store: Store) =>
  until(async () => (await at.redis().xlen(store.keys.wakeup())) === 0);

describeEachStore('a wakeup', at => {
  test('whose provider lies ends as FAILED within the time of the caller, and is never called READY', async () => {
    const store = at.open();
    await manage(at, store, async () => ({status: 'READY', workerIds: ['nobody']}));
    await ask(at, store, 'exec-1', {timeoutMs: 3000});
    expect(await ended(at, store, 'exec-1')).toMatchObject({
      status: 'FAILED',
      reason: 'the provider said READY, but no worker came online in time',
    });
    expect(await statuses(at, store, 'exec-1')).toEqual(['STARTING', 'FAILED']);
    await idle(at, store);
  });

  test.each(['READY', 'STARTING', 'QUEUED'] as const)(
    'whose provider says %s is READY when the worker is there, with its id',
    async status => {
      const store = at.open();
      await manage(at, store, async () => ({status}));
      await ask(at, store, 'exec-1');
      await until(async () => (await answers(at, store, 'exec-1')).length === 1);
      expect((await statuses(at, store, 'exec-1'))[0]).toBe(status === 'QUEUED' ? 'QUEUED' : 'STARTING');
      await bringOnline(store);
      expect(await ended(at, store, 'exec-1')).toMatchObject({status: 'READY', workerIds: ['w1']});
    },
  );

  test('is READY when a worker starts by itself while the provider hangs, and the provider is told to stop', async () => {
    const store = at.open();
    let told = false;
    await manage(at, store, (_, {signal}) => {
      signal.addEventListener('abort', () => (told = true));
      return hangs();
    });
    await ask(at, store, 'exec-1');
    await until(async () => (await at.redis().xpending(store.keys.wakeup(), 'by_managers'))[0] === 1);
    await bringOnline(store);
    expect(await ended(at, store, 'exec-1')).toMatchObject({status: 'READY', workerIds: ['w1']});
    await until(() => told);
  });

  test.each([
    ['nothing', () => Promise.resolve(undefined)],
    ['a status nobody knows', () => Promise.resolve({status: 'MAYBE'})],
    ['a fallback to a path', () => Promise.resolve({status: 'FALLBACK', agentType: '../x'})],
    ['a fallback to nobody', () => Promise.resolve({status: 'FALLBACK', agentType: ''})],
    ['an error before it returns', () => {
      throw new Error('boom');
    }], // prettier-ignore
  ])('whose provider answers %s is FAILED at once, with a dead letter', async (_, answer) => {
    const store = at.open();
    await manage(at, store, answer as () => Promise<ProviderDecision>);
    await ask(at, store, 'exec-1');
    expect(await ended(at, store, 'exec-1')).toMatchObject({status: 'FAILED'});
    await idle(at, store);
    expect(await at.redis().xlen(store.keys.deadletter())).toBe(1);
  });

  test('whose provider flaps: a failure frees the way, and the next is carried out', async () => {
    const store = at.open();
    let calls = 0;
    await manage(at, store, async () => {
      if (++calls % 2 === 1) return {status: 'FAILED', reason: 'not now', retryAfterMs: 1500};
      await bringOnline(store);
      return {status: 'READY'};
    });
    await ask(at, store, 'exec-1');
    expect(await ended(at, store, 'exec-1')).toMatchObject({reason: 'not now', retryAfterMs: 1500});
    await ask(at, store, 'exec-2');
    expect(await ended(at, store, 'exec-2')).toMatchObject({status: 'READY'});
    expect(calls).toBe(2);
  });

  test('whose provider flaps, lies, hangs and fails in turn: each waiter hears one end, and READY where it is true', async () => {
    const store = at.open();
    const {length: count} = Array.from({length: 24});
    let calls = 0;
    const wants = new Map<string, string>();
    await manage(at, store, async ({targetAgentType}) => {
      const turn = calls++ % 6;
      wants.set(targetAgentType, turn === 2 || turn === 5 ? 'READY' : turn === 4 ? 'REJECTED' : 'FAILED');
      switch (turn) {
        case 0:
          return {status: 'FAILED', reason: 'not now'};
        case 1:
          return {status: 'READY', workerIds: ['nobody']};
        case 2:
          await bringOnline(store, `w-${targetAgentType}`, targetAgentType);
          return {status: 'READY', workerIds: ['another']};
        case 3:
          return hangs();
        case 4:
          return {status: 'REJECTED', reason: 'never'};
        default:
          // It starts one, and then fails to say so.
          await bringOnline(store, `w-${targetAgentType}`, targetAgentType);
          throw new Error('lost my connection');
      }
    });
    const ids = Array.from({length: count}, (_, i) => `exec-${i}`);
    for (const [i, id] of ids.entries())
      await ask(at, store, id, {targetAgentType: `type-${i}`, timeoutMs: 8000});
    for (const [i, id] of ids.entries()) {
      const end = await ended(at, store, id);
      const type = `type-${i}`;
      expect(end.status, type).toBe(wants.get(type));
      expect(end.workerIds, type).toEqual(end.status === 'READY' ? [`w-${type}`] : []);
      expect((await statuses(at, store, id)).filter(one => one !== 'STARTING')).toEqual([end.status]);
    }
    expect(calls).toBe(count);
    await idle(at, store);
    // Of what failed the command is kept, once each.
    expect(await at.redis().xlen(store.keys.deadletter())).toBe(
      [...wants.values()].filter(one => one === 'FAILED').length,
    );
  });

  test('whose worker comes and goes: the command is put where somebody is, and only then', async () => {
    const store = at.open();
    const redis = at.redis();
    const comings: string[] = [];
    await manage(at, store, async () => {
      comings.push('asked');
      return {status: 'READY'};
    });
    let leaving: Promise<void> | undefined;
    const sending = new GatewayClient(store).send({
      ...{agentType: TYPE, content: 'x', policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 20_000},
      onProgress(progress) {
        // It is gone again before the command can be put on its stream, the first time.
        if (progress.kind !== 'wakeup-decision' || progress.decision.status !== 'READY') return;
        leaving ??= as('worker', goAway);
      },
    });
    await until(() => comings.length === 1);
    const goAway = await bringOnline(store);
    await until(() => leaving !== undefined || redis.xlen(store.keys.ctrlStream(TYPE)).then(n => n > 0));
    await leaving;
    const before = await redis.xlen(store.keys.ctrlStream(TYPE));
    if (before === 0) await bringOnline(store, 'w2');
    expect(await sending).toMatchObject({status: 'WAIT_AND_DELIVER'});
    expect(await redis.xlen(store.keys.ctrlStream(TYPE))).toBe(1);
    await idle(at, store);
  });

  test('goes on while a worker is started by hand: each waiter is delivered once, the provider is let go', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const signals: AbortSignal[] = [];
    await manage(at, store, (_, {signal}) => {
      signals.push(signal);
      return hangs();
    });
    const request = {agentType: TYPE, content: 'x', policy: 'WAKE_AND_WAIT'} as const;
    const sending = Array.from({length: 5}, () => client.send(request));
    const queued = await client.send({...request, policy: 'WAKE_AND_QUEUE'});
    await until(() => signals.length === 1);
    await until(async () => (await at.redis().hlen(store.keys.wakeupWaiters(TYPE, '', ''))) === 6);
    const seen: string[] = [];
    const worker = await startWorker(store, {
      agents: [defineAgent({type: TYPE, run: ctx => void seen.push(ctx.executionId)})],
      log: silentLogger,
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    const sent = [...(await Promise.all(sending)), queued];
    await until(() => seen.length === sent.length);
    expect(seen.sort()).toEqual(sent.map(({executionId}) => executionId).sort());
    await until(() => signals.every(({aborted}) => aborted));
    await idle(at, store);
    expect(signals).toHaveLength(1);
  });

  test('goes on for those who wait longer than the one who asked first', async () => {
    const store = at.open();
    let calls = 0;
    await manage(at, store, () => {
      calls++;
      return hangs();
    });
    await ask(at, store, 'exec-hasty', {timeoutMs: 3000});
    await until(() => calls === 1);
    await ask(at, store, 'exec-patient', {timeoutMs: 30_000});
    const asked = await serverTimeMs(store);
    await until(async () => (await serverTimeMs(store)) > asked + 3500);
    expect(await statuses(at, store, 'exec-patient')).toEqual([]);
    await bringOnline(store);
    expect(await ended(at, store, 'exec-patient')).toMatchObject({status: 'READY'});
    expect(calls).toBe(1);
  });

  test('that nobody waits for any more starts nobody', async () => {
    const store = at.open();
    await ask(at, store, 'exec-old', {timeoutMs: 1});
    const asked = await serverTimeMs(store);
    await until(async () => (await serverTimeMs(store)) > asked + 5);
    let calls = 0;
    await manage(at, store, () => {
      calls++;
      return hangs();
    });
    await idle(at, store);
    expect(calls).toBe(0);
    expect(await at.redis().xlen(store.keys.deadletter())).toBe(0);
  });

  test('of one region or user does not stand for another; the provider is given both', async () => {
    const store = at.open();
    const seen: string[] = [];
    await manage(at, store, request => {
      seen.push(`${request.userCode}/${request.region}`);
      return hangs();
    });
    await ask(at, store, 'exec-1', {userCode: 'u-1', region: 'eu'});
    await ask(at, store, 'exec-2', {userCode: 'u-1', region: 'us'});
    await ask(at, store, 'exec-3', {userCode: 'u-2', region: 'eu'});
    await ask(at, store, 'exec-4', {userCode: 'u-2', region: 'eu'});
    await until(() => seen.length === 3);
    await bringOnline(store);
    for (const id of ['exec-1', 'exec-2', 'exec-3', 'exec-4'])
      expect(await ended(at, store, id)).toMatchObject({status: 'READY'});
    expect(seen.sort()).toEqual(['u-1/eu', 'u-1/us', 'u-2/eu']);
  });

  test('that falls back names a stand-in once somebody of it is online', async () => {
    const store = at.open();
    await manage(at, store, async () => ({status: 'FALLBACK', agentType: 'alt'}));
    await ask(at, store, 'exec-1');
    await until(async () => (await answers(at, store, 'exec-1')).length === 1);
    expect(await statuses(at, store, 'exec-1')).toEqual(['STARTING']);
    await bringOnline(store, 'w2', 'alt');
    expect(await ended(at, store, 'exec-1')).toMatchObject({status: 'FALLBACK', selectedAgentType: 'alt'});
  });

  test('whose manager is stopped is taken over at once, however long the lease', async () => {
    const store = at.open();
    let calls = 0;
    const first = await manage(
      at,
      store,
      () => {
        calls++;
        return hangs();
      },
      {leaseMs: 60_000},
    );
    await ask(at, store, 'exec-1', {timeoutMs: 60_000});
    await until(() => calls === 1);
    await first.stop();
    expect(await statuses(at, store, 'exec-1')).toEqual([]);
    await manage(at, store, async () => {
      await bringOnline(store);
      return {status: 'READY'};
    }, {leaseMs: 60_000}); // prettier-ignore
    expect(await ended(at, store, 'exec-1')).toMatchObject({status: 'READY'});
    await idle(at, store);
  });

  test('of a hundred that hang keeps neither other agent types nor pending deliveries waiting', async () => {
    const store = at.open();
    await manage(at, store, async request => {
      if (request.targetAgentType === TYPE) return hangs();
      return {status: 'REJECTED', reason: 'another'};
    });
    for (let i = 0; i < 100; i++) await ask(at, store, `exec-${i}`, {userCode: `u-${i}`});
    await ask(at, store, 'exec-other', {targetAgentType: 'other'});
    expect(await ended(at, store, 'exec-other')).toMatchObject({status: 'REJECTED', reason: 'another'});
    const document = encodePendingDelivery({
      ...{executionId: 'exec-p', messageId: 'm', sessionId: 's', traceId: 't', targetAgentType: 'other'},
      ...{deliveryStream: '', commandPayload: {a: 1}, userCode: '', region: '', priority: 0, metadata: {}},
    });
    await at.redis().xadd(store.keys.deliveryPending(), '*', 'data', document);
    await until(async () => (await at.redis().zcard(store.keys.pendingQueue('other'))) === 1);
    await bringOnline(store);
    await idle(at, store);
  });

  test('of two managers with split views is answered as the one that sees the worker says', async () => {
    const store = at.open();
    const away = await bringOnline(store);
    await away();
    // One manager's provider knows of no worker, the other's starts one: whoever leads, the type is looked at, not believed.
    await manage(at, store, async () => ({status: 'QUEUED', reason: 'I see nobody'}));
    await manage(at, store, async () => ({status: 'READY', workerIds: ['somebody-else']}));
    for (let i = 0; i < 10; i++) await ask(at, store, `exec-${i}`, {userCode: `u-${i}`});
    for (let i = 0; i < 10; i++) await until(async () => (await answers(at, store, `exec-${i}`)).length > 0);
    await bringOnline(store);
    for (let i = 0; i < 10; i++)
      expect(await ended(at, store, `exec-${i}`)).toMatchObject({status: 'READY', workerIds: ['w1']});
  });

  test('asked for as python does is answered on the stream python reads, and only then', async () => {
    const store = at.open();
    const redis = at.redis();
    await manage(at, store, async () => ({status: 'STARTING', reason: 'a node boots'}));
    const [recorded] = pythonRequests();
    // What the python client adds, with an execution of its own for each of three callers.
    const ids = ['exec-py-1', 'exec-py-2', 'exec-py-3'];
    for (const id of ids)
      await redis.xadd(store.keys.wakeup(), '*', 'data', recorded!.replaceAll('exec-12345678', id));
    for (const id of ids) await until(async () => (await statuses(at, store, id)).includes('STARTING'));
    await bringOnline(store);
    // What it reads: one entry at a time from 0-0, until one that is not STARTING or QUEUED; then it looks once.
    for (const id of ids) {
      let last = '0-0';
      let status = '';
      while (status === '' || status === 'STARTING' || status === 'QUEUED') {
        const reply = await redis.xread(
          ...(['COUNT', 1, 'BLOCK', 5000, 'STREAMS', store.keys.wakeupResult(id), last] as const),
        );
        const [entryId, fields] = reply![0]![1][0]!;
        last = entryId;
        const decision = JSON.parse(fields[1]!) as Record<string, unknown>;
        expect(Object.keys(decision)).toEqual([
          ...['execution_id', 'target_agent_type', 'status', 'selected_agent_type', 'worker_ids'],
          ...['region', 'retry_after_ms', 'reason'],
        ]);
        expect(decision['execution_id']).toBe(id);
        status = decision['status'] as string;
      }
      expect(status).toBe('READY');
    }
    await idle(at, store);
  });
});

/** The wakeup requests that python was seen to write. */
function pythonRequests(): string[] {
  const row = rowsOf('availability').find(({name}) => name === 'route.wait.STARTING_then_READY_online');
  const entries = field(row!.expected, 'new_streams', 'byai_gateway:control_plane:mgmt:wakeup') as {
    fields: {data: string};
  }[];
  // Two seconds are little on a busy machine.
  return entries.map(({fields}) => fields.data.replace('"timeout_ms": 2000', '"timeout_ms": 30000'));
}
