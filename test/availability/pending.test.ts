/** The queue of what waits for an agent type: its order, its deadline, and what leaves it. G10. */
import {expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {encodePendingDelivery} from '../../src/protocol/delivery.js';
import {
  expiredPending,
  MANAGER_GROUP,
  nextPending,
  pendingScore,
  releasePending,
  takePending,
} from '../../src/store/control-plane.js';
import {ensureGroup} from '../../src/store/control-streams.js';
import {serverTimeMs, type Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'writer';

/** Put a delivery into its queue as a manager does, with an entry id of our choice. */
async function hold(at: TestStore, store: Store, entryId: string, priority = 0): Promise<void> {
  const redis = at.redis();
  const stream = store.keys.deliveryPending();
  await ensureGroup(store, stream, MANAGER_GROUP);
  const document = encodePendingDelivery({
    ...{executionId: `exec-${entryId}`, messageId: 'm', sessionId: 's', traceId: 't', targetAgentType: TYPE},
    ...{deliveryStream: '', commandPayload: {entryId}, userCode: '', region: '', priority, metadata: {}},
  });
  await redis.xadd(stream, entryId, 'data', document);
  await redis.xreadgroup('GROUP', MANAGER_GROUP, 'c', 'COUNT', 1, 'STREAMS', stream, '>');
  const score = pendingScore(priority, entryId);
  expect(await takePending(store, {entryId, document, score, agentType: TYPE})).toBe(true);
}

const ids = (held: readonly {readonly entryId: string}[]) => held.map(({entryId}) => entryId);

async function empty(store: Store): Promise<void> {
  for (const {entryId} of await nextPending(store, TYPE, 1000))
    await releasePending(store, {agentType: TYPE, entryId, sessionId: '_', executionId: ''});
}

describeEachStore('pending deliveries of an agent type', at => {
  test('of one millisecond go in the order in which they came', async () => {
    const store = at.open();
    const wanted = ['5-0', '5-2', '5-9', '5-10', '5-11', '5-99', '5-100', '6-1'];
    for (const entryId of wanted) await hold(at, store, entryId);
    await hold(at, store, '7-0', 1);
    expect(ids(await nextPending(store, TYPE, 100))).toEqual(['7-0', ...wanted]);
    await empty(store);
    expect(await nextPending(store, TYPE, 100)).toEqual([]);
    expect(await at.redis().exists(store.keys.pendingPayloads(TYPE))).toBe(0);
  });

  test('that waited too long are found in every priority, behind any number of others', async () => {
    const store = at.open();
    const entries: [string, number][] = [
      ...[['10-0', 5], ['11-0', -100], ['12-0', 0], ['13-0', 500], ['20-0', 0]] as [string, number][],
      ...Array.from({length: 150}, (_, i): [string, number] => [`${30 + i}-0`, 9]),
    ]; // prettier-ignore
    for (const [entryId, priority] of entries) await hold(at, store, entryId, priority);
    expect(ids(await expiredPending(store, TYPE, 20, 100))).toEqual(['13-0', '10-0', '12-0', '11-0']);
    expect(ids(await expiredPending(store, TYPE, 20, 2))).toEqual(['13-0', '10-0']);
    expect(await expiredPending(store, TYPE, 10, 100)).toEqual([]);
    expect(await expiredPending(store, TYPE, 10_000, 1000)).toHaveLength(entries.length);
    await empty(store);
  });

  test('become dead letters at their deadline, though others of higher priority go first', async () => {
    const store = at.open();
    const redis = at.redis();
    await hold(at, store, '1000-0', -1);
    const now = Math.floor(await serverTimeMs(store));
    for (let i = 0; i < 120; i++) await hold(at, store, `${now}-${i}`, 1);
    const provider = mockProvider({mode: {kind: 'reject'}});
    const manager = await startManager(store, {provider, log: silentLogger});
    at.cleanup(() => manager.stop());
    await until(async () => (await redis.xlen(store.keys.deadletter())) === 1);
    const [entry] = await redis.xrange(store.keys.deadletter(), '-', '+');
    expect(JSON.parse(entry![1][1]!)).toMatchObject({
      source: 'pending',
      x_entry_id: '1000-0',
      command_payload: {entryId: '1000-0'},
    });
    expect(await redis.zcard(store.keys.pendingQueue(TYPE))).toBe(120);
    await manager.stop();
    await empty(store);
  });

  test('that were cancelled leave the queue while their agent type is still away', async () => {
    const store = at.open();
    const redis = at.redis();
    const client = new GatewayClient(store);
    const request = {agentType: TYPE, content: 'x', policy: 'QUEUE_ONLY'} as const;
    const [first, , third] = [
      await client.send(request),
      await client.send(request),
      await client.send(request),
    ];
    const provider = mockProvider({mode: {kind: 'reject'}});
    const manager = await startManager(store, {provider, log: silentLogger});
    at.cleanup(() => manager.stop());
    const queue = store.keys.pendingQueue(TYPE);
    await until(async () => (await redis.zcard(queue)) === 3);
    await client.cancel(first);
    await client.cancel(third);
    await until(async () => (await redis.zcard(queue)) === 1);
    await manager.stop();
    await empty(store);
  });
});
