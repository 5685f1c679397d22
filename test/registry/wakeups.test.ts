/** What operators see of wakeups, and answer by hand: on every store. */
import {expect, test} from 'vitest';
import {answerByHand, type HandAnswer} from '../../src/availability/answer-by-hand.js';
import {startManager} from '../../src/availability/manager.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import type {WakeupRequest} from '../../src/protocol/wakeup.js';
import {decisionsFor, findWakeup, listWakeups} from '../../src/registry/wakeups.js';
import {MANAGER_GROUP, joinWakeup, requestWakeup} from '../../src/store/control-plane.js';
import {ensureGroup, readNew} from '../../src/store/control-streams.js';
import {listDeadLetters} from '../../src/store/dead-letters.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until} from '../support/stores.js';

const asked = (executionId: string, fields: Partial<WakeupRequest> = {}): WakeupRequest => ({
  ...{executionId, targetAgentType: 'ocr', sessionId: 's', traceId: '', messageId: `msg-${executionId}`},
  ...{source: 'client', policy: 'WAKE_AND_WAIT', timeoutMs: 30_000, userCode: '', region: '', priority: 0},
  ...{metadata: {}, commandPayload: {header: {session_id: 's'}}},
  ...fields,
});

const answer = (status: string, fields: Partial<HandAnswer> = {}): HandAnswer => ({
  ...{status, selectedAgentType: '', workerIds: [], retryAfterMs: null, reason: 'by hand'},
  ...fields,
});
const by = {by: 'ops@host', now: 1_716_123_456_789};

/** Read requests as a manager does, and go so far as to lead or join. */
async function readAs(store: Store, managerId: string, count: number): Promise<void> {
  const stream = store.keys.wakeup();
  await ensureGroup(store, stream, MANAGER_GROUP);
  await readNew(store, store.commands, {
    streams: [stream],
    group: MANAGER_GROUP,
    consumer: managerId,
    count,
    blockMs: 1,
  });
}

describeEachStore('wakeups', at => {
  test('a request waits until a manager reads it, and all who wait for it are counted', async () => {
    const store = at.open();
    await requestWakeup(store, asked('exec-1'));
    await requestWakeup(store, asked('exec-2', {userCode: 'u', region: 'eu'}));
    expect(await listWakeups(store, 10)).toMatchObject([
      {state: 'waiting', managerId: '', idleMs: null, leader: '', waiters: ['exec-1']},
      {state: 'waiting', request: {userCode: 'u', region: 'eu'}, waiters: ['exec-2']},
    ]);
    await readAs(store, 'manager-1', 1);
    await joinWakeup(store, asked('exec-1'));
    await joinWakeup(store, asked('exec-9'));
    expect(await listWakeups(store, 10)).toMatchObject([
      {state: 'started', managerId: 'manager-1', leader: 'exec-1', waiters: ['exec-1', 'exec-9']},
      {state: 'waiting', leader: '', waiters: ['exec-2']},
    ]);
  });

  test('what can not be read is shown beside what can, and found by its entry', async () => {
    const store = at.open();
    const entryId = await store.commands.run(redis =>
      redis.xadd(store.keys.wakeup(), '*', 'data', 'no json'),
    );
    await requestWakeup(store, asked('exec-1', {targetAgentType: 'not an id'}));
    const rows = await listWakeups(store, 10);
    expect(rows.map(({state}) => state)).toEqual(['unreadable', 'waiting']);
    expect(rows[0]!.unreadable).not.toBe('');
    expect((await findWakeup(store, entryId ?? '', 10))?.state).toBe('unreadable');
  });

  test('a wakeup is found by its entry, its execution, and by whoever waits with it', async () => {
    const store = at.open();
    await requestWakeup(store, asked('exec-1'));
    await joinWakeup(store, asked('exec-1'));
    await joinWakeup(store, asked('exec-2'));
    const {entry} = (await listWakeups(store, 10))[0]!;
    for (const id of [entry.id, 'exec-1', 'exec-2'])
      expect((await findWakeup(store, id, 10))?.entry.id).toBe(entry.id);
    expect(await findWakeup(store, 'exec-3', 10)).toBeUndefined();
  });

  test('an answer by hand reaches everybody who waits, read by a manager or not, and ends the wakeup', async () => {
    const store = at.open();
    for (const id of ['exec-1', 'exec-2', 'exec-3']) await requestWakeup(store, asked(id));
    await requestWakeup(store, asked('exec-other', {userCode: 'u'}));
    await readAs(store, 'manager-1', 1);
    await joinWakeup(store, asked('exec-1'));
    await joinWakeup(store, asked('exec-joined'));
    const answered = await answerByHand(store, asked('exec-2'), answer('REJECTED', {retryAfterMs: 500}), by);
    expect([...answered.told].sort()).toEqual(['exec-1', 'exec-2', 'exec-3', 'exec-joined']);
    expect(answered.settled).toHaveLength(3);
    for (const id of answered.told) {
      expect(await decisionsFor(store, id)).toMatchObject([
        {executionId: id, status: 'REJECTED', reason: 'by hand', retryAfterMs: 500, targetAgentType: 'ocr'},
      ]);
    }
    expect(await decisionsFor(store, 'exec-other')).toEqual([]);
    expect((await listWakeups(store, 10)).map(({request}) => request?.executionId)).toEqual(['exec-other']);
    // The way is free for the next.
    expect((await joinWakeup(store, asked('exec-4'))).role).toBe('lead');
  });

  test('after STARTING everybody goes on waiting', async () => {
    const store = at.open();
    await requestWakeup(store, asked('exec-1'));
    await readAs(store, 'manager-1', 1);
    await joinWakeup(store, asked('exec-1'));
    const answered = await answerByHand(store, asked('exec-1'), answer('STARTING'), by);
    expect(answered).toEqual({told: ['exec-1'], settled: [], deadLetters: []});
    expect(await listWakeups(store, 10)).toMatchObject([{state: 'started', leader: 'exec-1'}]);
  });

  test('FAILED keeps each command as a dead letter, but not what waits as a pending delivery anyhow', async () => {
    const store = at.open();
    await requestWakeup(store, asked('exec-1'));
    await requestWakeup(store, asked('exec-2', {policy: 'WAKE_AND_QUEUE'}));
    const {deadLetters} = await answerByHand(store, asked('exec-1'), answer('FAILED'), by);
    const letters = await listDeadLetters(store, 10);
    expect(letters.map(({id}) => id)).toEqual(deadLetters);
    expect(letters).toMatchObject([
      {
        letter: {
          executionId: 'exec-1',
          source: 'wakeup',
          reason: 'by hand',
          commandPayload: {header: {session_id: 's'}},
          attempts: [{workerId: 'ops@host'}],
        },
      },
    ]);
    expect(await listWakeups(store, 10)).toEqual([]);
  });

  test('a manager whose wakeup was answered by hand meanwhile writes no dead letter', async () => {
    const store = at.open();
    const begun = new AbortController();
    let give: (reason: string) => void = () => undefined;
    const failed = new Promise<string>(resolve => (give = resolve));
    let ended = 0;
    const manager = await startManager(store, {
      log: silentLogger,
      onWakeup: () => {
        ended++;
      },
      provider: {
        name: 'slow',
        wakeup: async () => {
          begun.abort();
          return {status: 'FAILED', reason: await failed};
        },
      },
    });
    at.cleanup(() => manager.stop());
    const client = new GatewayClient(store);
    const sending = client.send({agentType: 'ocr', content: 'x', policy: 'WAKE_AND_WAIT'});
    await until(() => begun.signal.aborted);
    const {request} = (await listWakeups(store, 10))[0]!;
    await answerByHand(store, request!, answer('READY'), by);
    const worker = await startWorker(store, {
      agents: [defineAgent({type: 'ocr', run: (_, ask) => ask.text})],
      log: silentLogger,
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    const sent = await sending;
    await until(async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED');
    give('too late');
    await until(() => ended === 1);
    await manager.stop();
    expect(await listDeadLetters(store, 10)).toEqual([]);
    expect(await listWakeups(store, 10)).toEqual([]);
  });
});
