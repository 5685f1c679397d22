/** The dead letters at their limit: nothing is acknowledged that could not be kept, and all of it is once there is room (G5). */
import {expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger, type Logger} from '../../src/log.js';
import {claimExecution, findExecution} from '../../src/store/executions.js';
import {moveToDeadLetters} from '../../src/store/dead-letters.js';
import {ensureGroup, readNew} from '../../src/store/control-streams.js';
import type {Store} from '../../src/store/store.js';
import {deadLetters, recordOf, send, settled, TYPE, withStatus, work} from '../faults/support.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const GROUP = 'agent_engines';

/** A store whose dead letters take one, and have it. */
async function full(at: TestStore): Promise<{store: Store; free: () => Promise<unknown>}> {
  const opened = at.open();
  const store: Store = {...opened, limits: {...opened.limits, deadLetters: 1}};
  const redis = at.redis();
  const id = (await redis.xadd(store.keys.deadletter(), '*', 'data', '{"reason":"the first"}')) ?? '';
  return {store, free: () => redis.xdel(store.keys.deadletter(), id)};
}

function listening(): {log: Logger; errors: string[]} {
  const errors: string[] = [];
  const log: Logger = {...silentLogger, error: message => void errors.push(message), child: () => log};
  return {log, errors};
}

const pending = async (at: TestStore, stream: string, group = GROUP): Promise<number> =>
  ((await at.redis().xpending(stream, group)) as [number])[0];

describeEachStore('with the dead letters full', at => {
  test('a failed execution ends, its entry stays pending, and its letter comes when there is room', async () => {
    const {store, free} = await full(at);
    const {log, errors} = listening();
    let starts = 0;
    await work(
      at,
      store,
      () => {
        starts++;
        throw new TypeError('a bug');
      },
      {log},
    );
    const sent = await send(store, 'keep me');
    await withStatus(store, sent, 'FAILED');
    await until(() => errors.some(line => line.startsWith('the dead letters are full')));
    expect(await deadLetters(at, store)).toEqual([{reason: 'the first'}]);
    expect(await pending(at, store.keys.ctrlStream(TYPE))).toBe(1);
    await free();
    await settled(at, store);
    expect(await deadLetters(at, store)).toMatchObject([
      {execution_id: sent.executionId, command_payload: {body: {content: 'keep me'}}, reason: 'a bug'},
    ]);
    expect(starts).toBe(1);
    expect(await recordOf(store, sent)).toMatchObject({status: 'FAILED'});
  });

  test('what one worker could not keep the next one does, without running it again', async () => {
    const {store, free} = await full(at);
    let starts = 0;
    const fail = () => {
      starts++;
      throw new TypeError('a bug');
    };
    const first = await work(at, store, fail, {workerId: 'w-1'});
    const sent = await send(store, 'x');
    await withStatus(store, sent, 'FAILED');
    await first.stop();
    await free();
    await work(at, store, fail, {workerId: 'w-2'});
    await settled(at, store);
    expect(await deadLetters(at, store)).toMatchObject([
      {execution_id: sent.executionId, attempts: [{attempt: 1, worker_id: 'w-1', ended: 'failed'}]},
    ]);
    expect(starts).toBe(1);
  });

  test('an entry that can not be read stays pending until there is room', async () => {
    const {store, free} = await full(at);
    const {log, errors} = listening();
    const stream = store.keys.ctrlStream(TYPE);
    await at.redis().xadd(stream, '*', 'data', 'no command');
    const worker = await work(at, store, () => 'done', {log});
    await until(() => errors.length > 0);
    const sent = await send(store, 'a neighbour');
    await withStatus(store, sent, 'COMPLETED');
    await until(async () => (await at.redis().xlen(stream)) === 1);
    expect(await pending(at, stream)).toBe(1);
    await free();
    await worker.stop();
    await work(at, store, () => 'done');
    await settled(at, store);
    expect(await deadLetters(at, store)).toMatchObject([
      {
        source: 'poison',
        x_data: 'no command',
        x_stream: stream,
        attempts: [{error: 'The document is not JSON.'}],
      },
    ]);
  });

  test('a delivery past its deadline waits where it is', async () => {
    const {store, free} = await full(at);
    const sent = await new GatewayClient(store).send({
      agentType: TYPE,
      content: 'late',
      policy: 'QUEUE_ONLY',
    });
    const {log, errors} = listening();
    const provider = {name: 'none', wakeup: () => Promise.reject(new Error('nobody'))};
    const manager = await startManager(store, {provider, log, pendingDeadlineMs: 1});
    at.cleanup(() => manager.stop());
    await until(() => errors.length > 0);
    expect(await at.redis().zcard(store.keys.pendingQueue(TYPE))).toBe(1);
    await free();
    await until(async () => (await at.redis().zcard(store.keys.pendingQueue(TYPE))) === 0);
    expect(await deadLetters(at, store)).toMatchObject([{source: 'pending', execution_id: sent.executionId}]);
    expect((await deadLetters(at, store))[0]?.['first_accepted_at']).toBeGreaterThan(0);
    expect(await recordOf(store, sent)).toMatchObject({status: 'FAILED', errorCode: 'DELIVERY_EXPIRED'});
  });

  test('a failed wakeup is answered, and stays pending', async () => {
    const {store} = await full(at);
    const {log, errors} = listening();
    const provider = {name: 'none', wakeup: () => Promise.reject(new Error('no quota'))};
    const manager = await startManager(store, {provider, log});
    at.cleanup(() => manager.stop());
    const sending = new GatewayClient(store).send({agentType: TYPE, content: 'x', policy: 'WAKE_AND_WAIT'});
    await expect(sending).rejects.toThrow(/no quota/);
    await until(() => errors.length > 0);
    expect(await pending(at, store.keys.wakeup(), 'by_managers')).toBe(1);
    expect(await deadLetters(at, store)).toEqual([{reason: 'the first'}]);
  });

  test('giving an entry up is refused, and changes nothing', async () => {
    const {store, free} = await full(at);
    const stream = store.keys.ctrlStream(TYPE);
    await at.redis().xadd(stream, '*', 'data', '{}');
    await ensureGroup(store, stream, GROUP);
    const reader = store.blocking('test', stream);
    const request = {streams: [stream], group: GROUP, consumer: 'c', count: 1, blockMs: 1000};
    const [entry] = await readNew(store, reader, request);
    reader.close();
    const move = () => moveToDeadLetters(store, GROUP, entry!, '{"letter":1}');
    await expect(move()).rejects.toMatchObject({code: 'DEAD_LETTERS_FULL', retryable: true});
    expect(await pending(at, stream)).toBe(1);
    await free();
    expect(await move()).toMatch(/^\d+-\d+$/);
    expect(await pending(at, stream)).toBe(0);
  });

  test('a held letter is not lost when its entry comes to a worker that only looks', async () => {
    const {store, free} = await full(at);
    const worker = await work(at, store, () => {
      throw new TypeError('a bug');
    });
    const sent = await send(store, 'x');
    await withStatus(store, sent, 'FAILED');
    await worker.stop();
    const record = await findExecution(store, sent.sessionId, sent.executionId);
    const claim = () =>
      claimExecution(store, {
        ...{sessionId: sent.sessionId, messageId: sent.messageId, hint: sent.executionId},
        ...{newExecutionId: 'x', newRecord: () => '{}', owner: 'w#1', workerId: 'w', nowMs: 1, reopen: false},
        ...{entry: String(record?.extra['x_entry']), ask: true, deadOwner: '', maxAttempts: 5},
      });
    expect(await claim()).toMatchObject({verdict: 'terminal', isHeld: true});
    await free();
    expect(await claim()).toMatchObject({verdict: 'terminal', isHeld: false});
    expect(await claim()).toMatchObject({verdict: 'terminal', isHeld: false});
    expect(await deadLetters(at, store)).toMatchObject([{execution_id: sent.executionId}]);
    await at.redis().del(store.keys.ctrlStream(TYPE));
  });
});
