/** What operators see of queues: on every store, with workers of ours and of other SDKs. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {whereabouts} from '../../src/observe/execution-place.js';
import {CONSUMER_GROUP} from '../../src/protocol/keys.js';
import {executionsInQueue, executionsOfWorker} from '../../src/registry/open-executions.js';
import {allAgentTypes, knownAgentTypes, listQueues, peekQueue, showQueue} from '../../src/registry/queues.js';
import {claimLease, heartbeat} from '../../src/store/presence.js';
import {ensureGroup, readNew} from '../../src/store/control-streams.js';
import {giveEntries, pendingEntries} from '../../src/store/queues.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until} from '../support/stores.js';

const group = CONSUMER_GROUP;

/** Read entries as a worker of any SDK does, and keep them. */
async function take(store: Store, agentType: string, consumer: string, count: number): Promise<string[]> {
  const stream = store.keys.ctrlStream(agentType);
  await ensureGroup(store, stream, group);
  const request = {streams: [stream], group, consumer, count, blockMs: 1};
  return (await readNew(store, store.commands, request)).map(({id}) => id);
}

async function goOnline(store: Store, workerId: string, agentTypes: readonly string[]): Promise<void> {
  const lease = {workerId, token: '0123456789abcdef0123456789abcdef', ipAddress: '10.0.0.1'};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes, join: true, nowMs: Date.now()});
}

describeEachStore('queues', at => {
  async function sent(count: number, agentType = 'translator') {
    const store = at.open();
    const client = new GatewayClient(store);
    const results = [];
    for (let i = 0; i < count; i++)
      results.push(
        await client.send({agentType, content: `text ${i}`, policy: 'SEND_ANYWAY', sessionId: 's'}),
      );
    return {store, results};
  }

  test('a queue nobody serves is found by a scan only, and all of it waits', async () => {
    const {store} = await sent(3);
    expect(await knownAgentTypes(store)).toEqual([]);
    expect(await allAgentTypes(store)).toEqual(['translator']);
    expect(await listQueues(store, ['translator'])).toEqual([
      {
        agentType: 'translator',
        depth: 3,
        waiting: 3,
        pending: 0,
        consumers: 0,
        oldestPendingMs: null,
        maxDeliveries: 0,
        onCall: 0,
        heldBack: 0,
        workersOnline: 0,
      },
    ]);
    expect(await showQueue(store, 'nobody')).toBeUndefined();
  });

  test('what workers have is told from what waits, by the names of any SDK', async () => {
    const {store} = await sent(5);
    await goOnline(store, 'w-1', ['translator']);
    const first = await take(store, 'translator', 'w-1#0123456789ab', 2);
    const second = await take(store, 'translator', 'py-1', 1);
    const queue = await showQueue(store, 'translator');
    expect(queue).toMatchObject({
      depth: 5,
      waiting: 2,
      pending: 3,
      consumers: 2,
      workersOnline: 1,
      lastDeliveredId: second[0],
      consumerList: [
        {name: 'py-1', workerId: 'py-1', incarnation: '', pending: 1, online: false},
        {name: 'w-1#0123456789ab', workerId: 'w-1', incarnation: '0123456789ab', pending: 2, online: true},
      ],
    });
    expect(queue?.oldestPendingMs).toBeGreaterThanOrEqual(0);
    expect(await knownAgentTypes(store)).toEqual(['translator']);

    const stream = store.keys.ctrlStream('translator');
    const pending = await pendingEntries(store, stream, group, {count: 10});
    expect(pending.map(({entryId, deliveries}) => [entryId, deliveries])).toEqual(
      [...first, ...second].map(id => [id, 1]),
    );
    expect(await pendingEntries(store, stream, group, {count: 10, consumer: 'py-1'})).toHaveLength(1);
    expect(await pendingEntries(store, stream, group, {count: 10, minIdleMs: 3_600_000})).toEqual([]);
    expect(await pendingEntries(store, stream, 'no-group', {count: 10})).toEqual([]);
  });

  test('entries are given to somebody else, unless they were given out too lately', async () => {
    const {store} = await sent(2);
    const ids = await take(store, 'translator', 'py-1', 2);
    const stream = store.keys.ctrlStream('translator');
    expect(await giveEntries(store, stream, group, {to: 'w-2', minIdleMs: 3_600_000, ids})).toEqual([]);
    expect(await giveEntries(store, stream, group, {to: 'w-2', minIdleMs: 0, ids: [ids[0]!, '1-1']})).toEqual(
      [ids[0]],
    );
    const holders = await pendingEntries(store, stream, group, {count: 10});
    expect(holders.map(({consumer, deliveries}) => [consumer, deliveries])).toEqual([
      ['w-2', 1],
      ['py-1', 1],
    ]);
  });

  test('a peek shows what can not be read beside what can', async () => {
    const {store} = await sent(1);
    const redis = at.redis();
    const stream = store.keys.ctrlStream('translator');
    await redis.xadd(stream, '*', 'data', Buffer.from([0xff, 0xfe]));
    await redis.xadd(stream, '*', 'other', 'x');
    const entries = await peekQueue(store, 'translator', 10);
    expect(entries.map(({command}) => command?.action)).toEqual(['ASK_AGENT', undefined, undefined]);
    expect(entries.map(({unreadable}) => unreadable)).toEqual([
      undefined,
      'The document is not UTF-8.',
      'The stream entry has not one field "data".',
    ]);
    expect(await executionsInQueue(store, 'translator', 10)).toMatchObject({
      records: [{sessionId: 's', targetAgentType: 'translator', status: 'QUEUED'}],
      unknown: 2,
    });
  });

  test('the executions in a worker’s hands are found by its name', async () => {
    const {store, results} = await sent(3);
    await goOnline(store, 'w-1', ['translator']);
    await take(store, 'translator', 'w-1#0123456789ab', 1);
    await take(store, 'translator', 'py-1', 1);
    const found = await executionsOfWorker(store, 'w-1', 10);
    expect(found.records.map(({executionId}) => executionId)).toEqual([results[0]!.executionId]);
    await expect(executionsOfWorker(store, 'w-9', 10)).rejects.toMatchObject({code: 'NOT_FOUND'});
  });

  test('an execution is found where its command is: waiting, with a worker, held back, settled', async () => {
    const {store, results} = await sent(1);
    const client = new GatewayClient(store);
    const record = async ({sessionId, messageId}: {sessionId: string; messageId: string}) =>
      (await client.find(sessionId, messageId))!;
    const ask = results[0]!;
    expect((await whereabouts(store, await record(ask))).place).toEqual({
      kind: 'waiting',
      stream: store.keys.ctrlStream('translator'),
      entryId: ask.streamId,
    });
    await take(store, 'translator', 'py-1', 1);
    expect((await whereabouts(store, await record(ask))).place).toMatchObject({
      kind: 'pending',
      entryId: ask.streamId,
      consumer: 'py-1',
      workerId: 'py-1',
      deliveries: 1,
    });
    const held = await client.send({agentType: 'asleep', content: 'x', policy: 'QUEUE_ONLY'});
    // It waits in the routers' stream until a manager takes it; neither is a queue.
    expect((await whereabouts(store, await record(held))).place.kind).toBe('not_found');

    const worker = await startWorker(store, {
      agents: [
        defineAgent({type: 'thrower', run: () => Promise.reject(new Error('no luck'))}),
        defineAgent({type: 'echo', run: (_, given) => given.text}),
      ],
      log: silentLogger,
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    const done = await client.send({agentType: 'echo', content: 'x'});
    await until(async () => (await record(done)).status === 'COMPLETED');
    await until(async () => (await whereabouts(store, await record(done))).place.kind === 'settled');
    const failed = await client.send({agentType: 'thrower', content: 'x'});
    await until(async () => (await record(failed)).status === 'FAILED');
    const {deadLetter, deadLetterReplayed} = await whereabouts(store, await record(failed));
    expect(deadLetter?.letter).toMatchObject({executionId: failed.executionId, reason: 'no luck'});
    expect(deadLetterReplayed).toBe(false);
  });
});
