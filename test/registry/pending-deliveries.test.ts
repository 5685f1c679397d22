/** What operators see of pending deliveries, and do with them by hand: on every store. */
import {expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import {dropByHand, releaseByHand} from '../../src/availability/release-by-hand.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {findHeld, heldTypes, listHeld, type HeldDelivery} from '../../src/registry/pending-deliveries.js';
import {listDeadLetters} from '../../src/store/dead-letters.js';
import {firstEntries, heldBack, streamLength} from '../../src/store/queues.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const drop = {reason: 'sent twice', by: 'ops@host', now: 1_716_123_456_789};

describeEachStore('pending deliveries', at => {
  async function queued(store: Store, count: number, priorities: readonly number[] = []) {
    const client = new GatewayClient(store);
    const sent = [];
    for (let i = 0; i < count; i++) {
      const priority = priorities[i] ?? 0;
      sent.push(await client.send({agentType: 'ocr', content: `${i}`, policy: 'QUEUE_ONLY', priority}));
    }
    return sent;
  }

  /** A manager takes all there is from the stream into the queues, and is stopped. */
  async function taken(store: Store): Promise<void> {
    const manager = await managed(at, store);
    await until(async () => (await streamLength(store, store.keys.deliveryPending())) === 0);
    await manager.stop();
  }

  const only = async (store: Store): Promise<HeldDelivery> => {
    const {deliveries} = await listHeld(store, {limit: 10});
    expect(deliveries).toHaveLength(1);
    return deliveries[0]!;
  };

  test('they are listed in the order of their release, what no manager has taken last', async () => {
    const store = at.open();
    const sent = await queued(store, 3, [0, 0, 5]);
    expect((await listHeld(store, {limit: 10})).deliveries.map(({place}) => place)).toEqual([
      'arriving',
      'arriving',
      'arriving',
    ]);
    expect(await heldTypes(store)).toEqual([]);
    await taken(store);
    const [late] = await queued(store, 1);
    const {deliveries, hasMore} = await listHeld(store, {limit: 10});
    expect(deliveries.map(({place, delivery}) => [place, delivery?.executionId])).toEqual([
      ['held', sent[2]!.executionId],
      ['held', sent[0]!.executionId],
      ['held', sent[1]!.executionId],
      ['arriving', late!.executionId],
    ]);
    expect(hasMore).toBe(false);
    expect(await listHeld(store, {limit: 2})).toMatchObject({deliveries: [{}, {}], hasMore: true});
    expect((await listHeld(store, {agentType: 'other', limit: 10})).deliveries).toEqual([]);
    expect(await heldTypes(store)).toMatchObject([{agentType: 'ocr', held: 3, workersOnline: 0}]);
  });

  test('one is found by entry, execution and message, wherever it is', async () => {
    const store = at.open();
    const [first] = await queued(store, 1);
    await taken(store);
    const [second] = await queued(store, 1);
    for (const sent of [first!, second!]) {
      const found = await findHeld(store, sent.executionId);
      expect(found?.delivery?.messageId).toBe(sent.messageId);
      expect((await findHeld(store, sent.messageId))?.entryId).toBe(found?.entryId);
      expect((await findHeld(store, found?.entryId ?? ''))?.delivery?.messageId).toBe(sent.messageId);
    }
    expect(await findHeld(store, 'exec-none')).toBeUndefined();
  });

  test.each(['held', 'arriving'] as const)(
    'one that is %s is released by hand once, however many do, onto the stream of its agent type',
    async place => {
      const store = at.open();
      const [sent] = await queued(store, 1);
      if (place === 'held') await taken(store);
      const held = await only(store);
      expect(held.place).toBe(place);
      const outcomes = await Promise.all([1, 2, 3, 4].map(now => releaseByHand(store, held, now)));
      expect(outcomes.filter(outcome => outcome === 'done')).toHaveLength(1);
      expect(outcomes.filter(outcome => outcome === 'gone')).toHaveLength(3);
      const stream = store.keys.ctrlStream('ocr');
      const entries = await firstEntries(store, stream, 10);
      expect(entries).toHaveLength(1);
      expect(String(entries[0]?.data)).toContain(sent!.messageId);
      expect((await listHeld(store, {limit: 10})).deliveries).toEqual([]);
      const record = await new GatewayClient(store).find(sent!.sessionId, sent!.messageId);
      expect(record?.streamName).toBe(stream);
      // Nothing is left for a manager.
      await taken(store);
      expect(await streamLength(store, stream)).toBe(1);
    },
  );

  test.each(['held', 'arriving'] as const)(
    'one that is %s is given up by hand: its command is a dead letter, its execution has failed',
    async place => {
      const store = at.open();
      const [sent] = await queued(store, 1);
      if (place === 'held') await taken(store);
      expect(await dropByHand(store, await only(store), drop)).toBe('done');
      expect(await listDeadLetters(store, 10)).toMatchObject([
        {
          letter: {
            source: 'manual',
            reason: 'sent twice',
            executionId: sent!.executionId,
            targetAgentType: 'ocr',
            replayable: 'yes',
            attempts: [{workerId: 'ops@host'}],
          },
        },
      ]);
      expect(await new GatewayClient(store).find(sent!.sessionId, sent!.messageId)).toMatchObject({
        status: 'FAILED',
        errorCode: 'DELIVERY_DROPPED',
        errorMessage: 'sent twice',
      });
      expect((await listHeld(store, {limit: 10})).deliveries).toEqual([]);
    },
  );

  test('one that was released meanwhile is not given up, and the other way round', async () => {
    const store = at.open();
    await queued(store, 1);
    await taken(store);
    const held = await only(store);
    expect(await releaseByHand(store, held, 1)).toBe('done');
    expect(await dropByHand(store, held, drop)).toBe('gone');
    expect(await listDeadLetters(store, 10)).toEqual([]);
    expect(await streamLength(store, store.keys.ctrlStream('ocr'))).toBe(1);
  });

  test('what was read from the stream before a manager released it is not given up either', async () => {
    const store = at.open();
    await queued(store, 1);
    const arriving = await only(store);
    await taken(store);
    expect(await releaseByHand(store, await only(store), 1)).toBe('done');
    expect(await dropByHand(store, arriving, drop)).toBe('gone');
    expect(await releaseByHand(store, arriving, 1)).toBe('gone');
    expect(await listDeadLetters(store, 10)).toEqual([]);
    expect(await streamLength(store, store.keys.ctrlStream('ocr'))).toBe(1);
    expect(await heldBack(store, 'ocr')).toBe(0);
  });

  test('what can not be read is shown, is never released, and is given up with its bytes', async () => {
    const store = at.open();
    const stream = store.keys.deliveryPending();
    await store.commands.run(redis => redis.xadd(stream, '*', 'data', Buffer.from([0xff, 0x00])));
    const held = await only(store);
    expect(held).toMatchObject({place: 'arriving', agentType: '', delivery: undefined});
    expect(held.unreadable).not.toBe('');
    expect(await releaseByHand(store, held, 1)).toBe('unreadable');
    expect(await dropByHand(store, held, drop)).toBe('done');
    expect(await listDeadLetters(store, 10)).toMatchObject([
      {letter: {source: 'manual', xData: 'base64:/wA=', replayable: 'no-payload'}},
    ]);
    expect(await streamLength(store, stream)).toBe(0);
  });
});

async function managed(at: TestStore, store: Store) {
  const manager = await startManager(store, {
    provider: mockProvider({mode: {kind: 'reject'}}),
    log: silentLogger,
  });
  at.cleanup(() => manager.stop());
  return manager;
}
