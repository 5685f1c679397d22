import {expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import type {Provider} from '../../src/availability/provider.js';
import {GatewayClient} from '../../src/client/client.js';
import type {ByError} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import type {Store} from '../../src/store/store.js';
import {contentText, defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {readyOrNone} from '../support/wakeups.js';

const echo = defineAgent({type: 'echo', run: (_, ask) => ({content: ask.text})});

async function work(at: TestStore, store: Store, agents = [echo]): Promise<WorkerHandle> {
  const worker = await startWorker(store, {agents, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

async function manage(at: TestStore, store: Store, provider: Provider, options = {}) {
  const manager = await startManager(store, {provider, log: silentLogger, ...options});
  at.cleanup(() => manager.stop());
  return manager;
}

/** A provider that starts a real worker in this process. */
const starter = (at: TestStore, store: Store): Provider => ({
  name: 'starter',
  async wakeup() {
    await work(at, store);
    return {status: 'READY'};
  },
});

const completed = (client: GatewayClient, sent: {sessionId: string; messageId: string}) =>
  until(async () => {
    const record = await client.find(sent.sessionId, sent.messageId);
    return record?.status === 'COMPLETED' && record;
  });

describeEachStore('sending many', at => {
  test('gives one outcome for each, in order, and one that is refused stops no other', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    await work(at, store);
    const requests = Array.from({length: 600}, (_, i) => ({
      ...{agentType: i === 1 ? 'nobody' : 'echo', content: i === 2 ? '' : String(i), messageId: `m-${i}`},
      sessionId: `s-${i % 7}`,
    }));
    const outcomes = await client.sendMany(requests);
    expect(
      outcomes.map(one => (one.status === 'fulfilled' ? one.value.messageId : (one.reason as ByError).code)),
    ).toEqual(
      requests.map(({messageId}, i) => ['', 'AGENT_TYPE_UNAVAILABLE', 'INVALID_INPUT'][i] || messageId),
    );
    await completed(client, requests[599]!);
    const again = await client.sendMany(requests.slice(3, 5));
    expect(again.map(one => one.status === 'fulfilled' && one.value.duplicate)).toEqual([true, true]);
  });
});

describeEachStore('send', at => {
  test('is refused at once when nobody is online, and the session says why', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const refused = client.send({agentType: 'echo', content: 'hi', sessionId: 's-1', messageId: 'm-1'});
    await expect(refused).rejects.toMatchObject({
      code: 'AGENT_TYPE_UNAVAILABLE',
      exitCode: 5,
      retryable: true,
    });
    expect(await client.find('s-1', 'm-1')).toMatchObject({
      status: 'FAILED',
      failedStage: 'availability',
      routeStatus: 'REJECT',
    });
    expect(await at.redis().exists(store.keys.ctrlStream('echo'))).toBe(0);
  });

  test('does not believe in members whose lease is gone', async () => {
    at.breaksRules('dead-workers');
    const store = at.open();
    await at.redis().sadd(store.keys.members('echo'), ...Array.from({length: 50}, (_, i) => `dead-${i}`));
    const client = new GatewayClient(store);
    await expect(client.send({agentType: 'echo', content: 'hi'})).rejects.toMatchObject({
      code: 'AGENT_TYPE_UNAVAILABLE',
    });
    await work(at, store);
    expect(await client.send({agentType: 'echo', content: 'hi'})).toMatchObject({status: 'DELIVER_NOW'});
  });

  test.skipIf(at.kind === 'cluster')('is one round trip', async () => {
    const store = at.open();
    await work(at, store);
    let trips = 0;
    const counted = Object.create(store.commands) as Store['commands'];
    counted.run = (issue, options) => {
      trips++;
      return store.commands.run(issue, options);
    };
    await new GatewayClient({...store, commands: counted}).send({agentType: 'echo', content: 'hi'});
    expect(trips).toBe(1);
  });

  test('accepts a message id once, however often it is sent', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const request = {
      agentType: 'echo',
      content: 'hi',
      sessionId: 's-1',
      messageId: 'm-1',
      policy: 'SEND_ANYWAY',
    } as const;
    const sends = await Promise.all(Array.from({length: 20}, () => client.send(request)));
    expect(new Set(sends.map(sent => sent.executionId)).size).toBe(1);
    expect(sends.filter(sent => !sent.duplicate)).toHaveLength(1);
    expect(await at.redis().xlen(store.keys.ctrlStream('echo'))).toBe(1);
  });

  test('that was refused may be sent again with the same message id', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const request = {agentType: 'echo', content: 'hi', sessionId: 's-1', messageId: 'm-1'};
    await expect(client.send(request)).rejects.toMatchObject({code: 'AGENT_TYPE_UNAVAILABLE'});
    await expect(client.send(request)).rejects.toMatchObject({code: 'AGENT_TYPE_UNAVAILABLE'});
    await work(at, store);
    const sent = await client.send(request);
    expect(sent).toMatchObject({status: 'DELIVER_NOW', duplicate: false});
    await completed(client, sent);
    expect(await client.send(request)).toMatchObject({duplicate: true, executionId: sent.executionId});
  });

  test('leaves nothing behind when the stream is of the wrong type', async () => {
    at.breaksRules('ctrlStream');
    const store = at.open();
    const redis = at.redis();
    await redis.set(store.keys.ctrlStream('echo'), 'in the way');
    const sent = new GatewayClient(store).send({
      agentType: 'echo',
      content: 'hi',
      sessionId: 's-1',
      policy: 'SEND_ANYWAY',
    });
    await expect(sent).rejects.toMatchObject({code: 'REDIS_WRONG_TYPE'});
    expect(await redis.hlen(store.keys.sessionRegistry('s-1'))).toBe(0);
  });

  test('an open circuit beats every policy', async () => {
    const store = at.open();
    await work(at, store);
    await at.redis().set(store.keys.circuit('echo'), JSON.stringify({state: 'open', reason: 'maintenance'}));
    const sent = new GatewayClient(store).send({agentType: 'echo', content: 'hi', policy: 'SEND_ANYWAY'});
    await expect(sent).rejects.toMatchObject({code: 'AGENT_CIRCUIT_OPEN'});
  });

  test('a circuit that is not open lets everything through', async () => {
    const store = at.open();
    await work(at, store);
    await at.redis().set(store.keys.circuit('echo'), JSON.stringify({state: 'HALF_OPEN'}));
    expect(await new GatewayClient(store).send({agentType: 'echo', content: 'hi'})).toMatchObject({
      status: 'DELIVER_NOW',
    });
  });

  test('a used-up quota refuses that user only', async () => {
    const store = at.open();
    await work(at, store);
    await at
      .redis()
      .set(store.keys.userQuota('u-1'), JSON.stringify({available: false, reason: 'monthly cap'}));
    const client = new GatewayClient(store);
    await expect(client.send({agentType: 'echo', content: 'hi', userCode: 'u-1'})).rejects.toMatchObject({
      code: 'TENANT_QUOTA_EXCEEDED',
    });
    expect(await client.send({agentType: 'echo', content: 'hi', userCode: 'u-2'})).toMatchObject({
      status: 'DELIVER_NOW',
    });
  });

  test('goes to the fallback when the target is away and the fallback is there', async () => {
    const store = at.open();
    await work(at, store);
    await at.redis().set(store.keys.fallback('away'), JSON.stringify({selected_agent_type: 'echo'}));
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'away', content: 'hi'});
    expect(sent).toMatchObject({status: 'FALLBACK_TO_OTHER_AGENT_TYPE', selectedAgentType: 'echo'});
    expect(await completed(client, sent)).toMatchObject({targetAgentType: 'echo', selectedAgentType: 'echo'});
  });

  test('to one worker works while it is online, and is refused when it is not', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const request = {agentType: 'echo', content: 'hi', workerId: 'w-1'};
    await expect(client.send(request)).rejects.toMatchObject({code: 'WORKER_NOT_ONLINE'});
    const worker = await startWorker(store, {agents: [echo], workerId: 'w-1', log: silentLogger});
    at.cleanup(() => worker.stop({drainMs: 0}));
    const sent = await client.send(request);
    expect(sent.status).toBe('DIRECT_WORKER');
    await completed(client, sent);
  });

  test('refuses what no agent could read', async () => {
    const client = new GatewayClient(at.open());
    await expect(client.send({agentType: 'echo', content: ' '})).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    await expect(client.send({agentType: '../x', content: 'a'})).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    const huge = client.send({agentType: 'echo', content: 'x'.repeat(2_000_000), policy: 'SEND_ANYWAY'});
    await expect(huge).rejects.toMatchObject({code: 'MESSAGE_TOO_LARGE'});
  });

  test('interceptors see and change the request, in order', async () => {
    const store = at.open();
    await work(at, store);
    const client = new GatewayClient(store, {
      interceptors: [
        {beforeSend: request => ({...request, content: `${contentText(request.content)} b`})},
        {beforeSend: async request => ({...request, content: `${contentText(request.content)} c`})},
      ],
    });
    const sent = await client.send({agentType: 'echo', content: 'a'});
    await completed(client, sent);
    const [[, fields]] = (
      await at.redis().xrevrange(store.keys.sessionDataStream(sent.sessionId), '+', '-')
    ).slice(1, 2) as [[string, string[]]];
    expect(fields[1]).toContain('a b c');
  });
});

describeEachStore('waking', at => {
  test('WAKE_AND_WAIT starts a worker and delivers', async () => {
    const store = at.open();
    await manage(at, store, starter(at, store));
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'echo', content: 'hi', policy: 'WAKE_AND_WAIT'});
    expect(sent).toMatchObject({status: 'WAIT_AND_DELIVER', wakeup: {decision: readyOrNone}});
    await completed(client, sent);
  });

  test('WAKE_AND_WAIT also succeeds when a worker comes up without any decision', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const sending = client.send({agentType: 'echo', content: 'hi', policy: 'WAKE_AND_WAIT'});
    await until(async () => (await at.redis().xlen(store.keys.wakeup())) === 1);
    await work(at, store);
    expect(await sending).toMatchObject({status: 'WAIT_AND_DELIVER', wakeup: {decision: 'NONE'}});
  });

  test('a hundred waiters cause one wakeup, and every one of them is answered', async () => {
    const store = at.open();
    let wakeups = 0;
    const inner = starter(at, store);
    await manage(at, store, {
      name: 'counting',
      wakeup: (request, context) => {
        wakeups++;
        return inner.wakeup(request, context);
      },
    });
    const client = new GatewayClient(store);
    const sent = await Promise.all(
      Array.from({length: 100}, () =>
        client.send({agentType: 'echo', content: 'hi', policy: 'WAKE_AND_WAIT'}),
      ),
    );
    expect(sent.map(one => one.status)).toEqual(Array.from({length: 100}, () => 'WAIT_AND_DELIVER'));
    expect(wakeups).toBe(1);
  });

  test.each([
    ['a provider that rejects', 'reject', /mock: reject/],
    ['a provider that fails', 'fail', /mock: fail/],
  ] as const)('%s ends the wait with its reason', async (_, kind, reason) => {
    const store = at.open();
    await manage(at, store, mockProvider({mode: {kind}}));
    const sent = new GatewayClient(store).send({agentType: 'echo', content: 'hi', policy: 'WAKE_AND_WAIT'});
    await expect(sent).rejects.toThrow(reason);
  });

  test('a provider that throws is a failed wakeup, and its dead letter holds the command', async () => {
    const store = at.open();
    await manage(at, store, {name: 'bad', wakeup: () => Promise.reject(new Error('no quota left'))});
    const sent = new GatewayClient(store).send({
      agentType: 'echo',
      content: 'keep me',
      policy: 'WAKE_AND_WAIT',
    });
    await expect(sent).rejects.toThrow(/no quota left/);
    const redis = at.redis();
    const [entry] = await until(async () => {
      const rows = await redis.xrange(store.keys.deadletter(), '-', '+');
      return rows.length > 0 && rows;
    });
    expect(JSON.parse(entry![1][1]!)).toMatchObject({
      status: 'FAILED',
      source: 'wakeup',
      command_payload: {body: {content: 'keep me'}},
    });
  });

  test('a READY without a worker is not believed', async () => {
    const store = at.open();
    await manage(at, store, mockProvider({mode: {kind: 'ready'}}));
    const sent = new GatewayClient(store).send({
      agentType: 'echo',
      content: 'hi',
      policy: 'WAKE_AND_WAIT',
      availabilityTimeoutMs: 3000,
    });
    await expect(sent).rejects.toThrow(/said READY, but no worker/);
  });

  test('a failed wakeup does not block the next one', async () => {
    const store = at.open();
    let calls = 0;
    const inner = starter(at, store);
    await manage(at, store, {
      name: 'second time lucky',
      wakeup: (request, context) => {
        calls++;
        if (calls === 1) return Promise.resolve({status: 'FAILED', reason: 'not yet'});
        return inner.wakeup(request, context);
      },
    });
    const client = new GatewayClient(store);
    const request = {agentType: 'echo', content: 'hi', policy: 'WAKE_AND_WAIT'} as const;
    await expect(client.send(request)).rejects.toThrow(/not yet/);
    expect(await client.send(request)).toMatchObject({status: 'WAIT_AND_DELIVER'});
  });

  test('a malformed wakeup entry is put aside, and the next one is served', async () => {
    const store = at.open();
    await at.redis().xadd(store.keys.wakeup(), '*', 'data', '[1,2');
    await manage(at, store, starter(at, store));
    const client = new GatewayClient(store);
    expect(await client.send({agentType: 'echo', content: 'hi', policy: 'WAKE_AND_WAIT'})).toMatchObject({
      status: 'WAIT_AND_DELIVER',
    });
    expect(await at.redis().xlen(store.keys.deadletter())).toBe(1);
  });
});

describeEachStore('pending deliveries', at => {
  test('wait for the agent type and are delivered once, whoever brought it up', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'echo', content: 'hi', policy: 'QUEUE_ONLY'});
    expect(sent.status).toBe('QUEUE_PENDING');
    await Promise.all([
      manage(at, store, mockProvider({mode: {kind: 'reject'}})),
      manage(at, store, mockProvider({mode: {kind: 'reject'}})),
    ]);
    await work(at, store);
    const record = await completed(client, sent);
    expect(record.timeline.map(step => step.status)).toEqual(['QUEUED', 'RUNNING', 'COMPLETED']);
    expect(record.streamName).toBe(store.keys.ctrlStream('echo'));
    const redis = at.redis();
    await until(async () => (await redis.xlen(store.keys.deliveryPending())) === 0);
    expect(await redis.zcard(store.keys.pendingQueue('echo'))).toBe(0);
  });

  test('WAKE_AND_QUEUE returns at once and wakes somebody', async () => {
    const store = at.open();
    await manage(at, store, starter(at, store));
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'echo', content: 'hi', policy: 'WAKE_AND_QUEUE'});
    expect(sent.status).toBe('QUEUE_PENDING');
    await completed(client, sent);
  });

  test('are released by priority, then by age', async () => {
    const store = at.open();
    const order: string[] = [];
    const client = new GatewayClient(store);
    const send = (content: string, priority: number) =>
      client.send({agentType: 'echo', content, priority, policy: 'QUEUE_ONLY'});
    await send('old', 0);
    await send('young', 0);
    await send('urgent', 9);
    const queue = store.keys.pendingQueue('echo');
    await manage(at, store, mockProvider({mode: {kind: 'reject'}}));
    const redis = at.redis();
    await until(async () => (await redis.zcard(queue)) === 3);
    const recorder = defineAgent({type: 'echo', run: (_, ask) => void order.push(ask.text)});
    const worker = await startWorker(store, {agents: [recorder], concurrency: 1, log: silentLogger});
    at.cleanup(() => worker.stop({drainMs: 0}));
    await until(() => order.length === 3);
    expect(order).toEqual(['urgent', 'old', 'young']);
  });

  test('past their deadline become dead letters with the command', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'echo', content: 'late', policy: 'QUEUE_ONLY'});
    await manage(at, store, mockProvider({mode: {kind: 'reject'}}), {pendingDeadlineMs: 1});
    const redis = at.redis();
    await until(async () => (await redis.xlen(store.keys.deadletter())) === 1);
    const [entry] = await redis.xrange(store.keys.deadletter(), '-', '+');
    expect(JSON.parse(entry![1][1]!)).toMatchObject({
      source: 'pending',
      command_payload: {body: {content: 'late'}},
    });
    expect(await client.find(sent.sessionId, sent.messageId)).toMatchObject({
      status: 'FAILED',
      errorCode: 'DELIVERY_EXPIRED',
    });
  });

  test('that were cancelled are not delivered', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'echo', content: 'hi', policy: 'QUEUE_ONLY'});
    await client.cancel(sent);
    await work(at, store);
    await manage(at, store, mockProvider({mode: {kind: 'reject'}}));
    const redis = at.redis();
    await until(async () => (await redis.xlen(store.keys.deliveryPending())) === 0);
    await until(async () => (await redis.zcard(store.keys.pendingQueue('echo'))) === 0);
    expect(await redis.xlen(store.keys.ctrlStream('echo'))).toBe(0);
    expect(await client.find(sent.sessionId, sent.messageId)).toMatchObject({
      status: 'CANCELLED',
      startedAt: 0,
    });
  });
});
