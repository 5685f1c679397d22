/** Workers that keep themselves free for on-call work, and what becomes of such work where none of them is. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import type {SendRequest} from '../../src/availability/send.js';
import {silentLogger} from '../../src/log.js';
import {CONSUMER_GROUP} from '../../src/protocol/keys.js';
import type {AgentStatus} from '../../src/protocol/orchestration/status.js';
import {listAgentWorkers} from '../../src/registry/agent-workers.js';
import {AgentStatusService} from '../../src/registry/agent-status-service.js';
import {suspendWorker} from '../../src/store/worker-admin.js';
import {ensureGroup, readNew} from '../../src/store/control-streams.js';
import {listDeadLetters} from '../../src/store/dead-letters.js';
import {hasOnCallReader, noteOnCallReader} from '../../src/store/on-call.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../src/worker/runner.js';
import {whereabouts} from '../../src/observe/execution-place.js';
import {cancelRun} from '../../src/orchestration/cancel-run.js';
import {orchestratorDeps} from '../../src/orchestration/deps.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {executionsInQueue} from '../../src/registry/open-executions.js';
import {ended, orchestrate, workspaceOf} from '../orchestration/support.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'writer';
const ON_CALL = {metadata: {slot_type: 'on_call'}} as const;
/** Of a worker that looks with its heartbeats whether on-call work was left: twice a second. */
const LOOKS_OFTEN = {leaseMs: 1500};

async function open(at: TestStore) {
  const store = at.open();
  const client = new GatewayClient(store);
  const service = new AgentStatusService(store);
  /** What began, in that order, as `{worker}:{text}`; each goes on until it is told to finish. */
  const begun: string[] = [];
  const finished = new Set<string>();
  const agentOf = (workerId: string) =>
    defineAgent({
      type: TYPE,
      run: async (_ctx, ask) => {
        begun.push(`${workerId}:${ask.text}`);
        await until(() => finished.has(ask.text) || finished.has('all'));
        return {content: ask.text};
      },
    });
  const work = async (workerId: string, options: Partial<WorkerOptions> = {}): Promise<WorkerHandle> => {
    const worker = await startWorker(store, {
      ...{agents: [agentOf(workerId)], log: silentLogger, leaseMs: 6000, workerId, history: false},
      ...options,
    });
    at.cleanup(() => {
      finished.add('all');
      return worker.stop({drainMs: 5000});
    });
    return worker;
  };
  const send = (content: string, over: Partial<SendRequest> = {}) =>
    client.send({agentType: TYPE, content, ...over});
  const finish = (...texts: string[]) => texts.forEach(text => finished.add(text));
  const ended = (sent: {sessionId: string; messageId: string}) =>
    until(async () => {
      const record = await client.find(sent.sessionId, sent.messageId);
      return record !== undefined && ['COMPLETED', 'FAILED', 'CANCELLED'].includes(record.status) && record;
    });
  const becomes = (status: AgentStatus, workerId: string) =>
    until(async () => (await service.get(workerId))?.status === status);
  const lengthOf = (stream: string) => store.commands.run(redis => redis.xlen(stream));
  return {store, client, work, send, begun, finish, ended, becomes, lengthOf};
}

describeEachStore('a worker that keeps free for on-call work', at => {
  test('takes it before what waits longer', async () => {
    const {work, send, begun, finish, ended} = await open(at);
    await work('w-1', {concurrency: 1, reserveOnCall: true});
    await send('first');
    await until(() => begun.length === 1);
    const waiting = [await send('a'), await send('b')];
    await send('urgent', ON_CALL);
    await send('high', {priority: 1});
    finish('all');
    for (const sent of waiting) await ended(sent);
    expect(begun).toEqual(['w-1:first', 'w-1:urgent', 'w-1:high', 'w-1:a', 'w-1:b']);
  });

  test('begins nothing else while it is on call, and goes on afterwards', async () => {
    const {work, send, begun, finish, ended, store} = await open(at);
    await work('w-1', {concurrency: 5, reserveOnCall: true});
    await send('urgent', ON_CALL);
    await until(() => begun.length === 1);
    const plain = await send('plain');
    const more = await send('more', ON_CALL);
    finish('more');
    await ended(more);
    // Begun would be what was sent before.
    expect(begun).toEqual(['w-1:urgent', 'w-1:more']);
    expect(await store.commands.run(redis => redis.xlen(store.keys.ctrlStream(TYPE)))).toBe(1);
    finish('urgent', 'plain');
    expect(await ended(plain)).toMatchObject({status: 'COMPLETED', workerId: 'w-1'});
  });

  test('leaves it to others meanwhile', async () => {
    const {work, send, begun, ended, finish} = await open(at);
    await work('w-1', {concurrency: 5, reserveOnCall: true});
    await send('urgent', ON_CALL);
    await until(() => begun.includes('w-1:urgent'));
    await work('w-2');
    const plain = await send('plain');
    finish('plain');
    expect(await ended(plain)).toMatchObject({workerId: 'w-2'});
  });

  test('is shown as reserved, and nobody else is', async () => {
    const {work, store, becomes} = await open(at);
    await work('w-1', {reserveOnCall: true});
    await work('w-2');
    await becomes('idle', 'w-1');
    await becomes('idle', 'w-2');
    const {workers} = await listAgentWorkers(store);
    expect(workers.map(({workerId, reserved}) => [workerId, reserved])).toEqual([
      ['w-1', true],
      ['w-2', false],
    ]);
  });

  test('refuses what is for it alone while it is on call, unless that is on call too', async () => {
    const {work, send, begun, finish, ended, becomes, client} = await open(at);
    await work('w-1', {concurrency: 9, reserveOnCall: true});
    finish('before');
    const before = await send('before', {workerId: 'w-1', sessionId: 's', messageId: 'm'});
    await ended(before);
    await send('urgent', ON_CALL);
    await until(() => begun.includes('w-1:urgent'));
    await becomes('on_call', 'w-1');

    await expect(send('plain', {workerId: 'w-1', sessionId: 's', messageId: 'm2'})).rejects.toMatchObject({
      ...{code: 'WORKER_RESERVED', exitCode: 5, retryable: true},
    });
    expect(await client.find('s', 'm2')).toMatchObject({status: 'FAILED', errorCode: 'WORKER_RESERVED'});
    // What was accepted before finds itself.
    const again = await send('before', {workerId: 'w-1', sessionId: 's', messageId: 'm'});
    expect(again).toMatchObject({duplicate: true, executionId: before.executionId});
    finish('also', 'anyway');
    await ended(await send('also', {workerId: 'w-1', ...ON_CALL}));
    await ended(await send('anyway', {workerId: 'w-1', policy: 'SEND_ANYWAY'}));
    finish('urgent');
    await becomes('idle', 'w-1');
    finish('plain');
    await ended(await send('plain', {workerId: 'w-1'}));
  });

  test('says so no more once it is suspended, exhausted or gone', async () => {
    const {work, store} = await open(at);
    at.breaksRules('workerAdmin', 'adminWorkers');
    await work('w-1', {reserveOnCall: true});
    const leaving = await work('w-2', {reserveOnCall: true});
    expect(await hasOnCallReader(store, TYPE)).toBe(true);
    await suspendWorker(store, 'w-1');
    await leaving.stop();
    await until(async () => !(await hasOnCallReader(store, TYPE)));
  });
});

describeEachStore('on-call work', at => {
  test('of a task reaches whoever keeps free for it, and is seen and cancelled there', async () => {
    const {store, work, begun, finish, lengthOf} = await open(at);
    const workspace = workspaceOf(store);
    orchestrate(at, workspace);
    await work('w-1', {concurrency: 1, reserveOnCall: true});
    const high = await acceptTask(workspace, {agentType: TYPE, message: 'high', priority: 'high'});
    await until(() => begun.length === 1);
    const plain = await acceptTask(workspace, {agentType: TYPE, message: 'plain'});
    await until(async () => (await lengthOf(store.keys.ctrlStream(TYPE))) === 1);
    const [urgent, unwanted] = [
      await acceptTask(workspace, {agentType: TYPE, message: 'urgent', slotType: 'on_call'}),
      await acceptTask(workspace, {agentType: TYPE, message: 'unwanted', slotType: 'on_call'}),
    ];
    await until(async () => (await lengthOf(store.keys.onCallStream(TYPE))) === 3);
    const waiting = await executionsInQueue(store, TYPE, 10);
    expect(waiting.records).toHaveLength(4);
    const [record] = waiting.records.filter(one => one.streamName === store.keys.onCallStream(TYPE)).slice(1);
    expect((await whereabouts(store, record!)).place).toMatchObject({kind: 'waiting'});
    await cancelRun(orchestratorDeps(workspace), unwanted.runId, {mode: 'graceful'});
    finish('all');
    for (const {runId} of [high, urgent, plain])
      expect(await ended(workspace, runId)).toMatchObject({run: {status: 'ok'}});
    expect(await ended(workspace, unwanted.runId)).toMatchObject({run: {status: 'cancelled'}});
    expect(begun).toEqual(['w-1:high', 'w-1:urgent', 'w-1:plain']);
  });

  test('goes where all work goes, where nobody keeps free for it', async () => {
    const {work, send, finish, ended, store} = await open(at);
    await work('w-1');
    finish('urgent');
    const sent = await send('urgent', ON_CALL);
    expect(sent.streamName).toBe(store.keys.ctrlStream(TYPE));
    await ended(sent);
  });

  test('that nobody read before its reader left is taken by any worker', async () => {
    const {work, send, finish, ended, store, lengthOf} = await open(at);
    const first = await work('w-1', LOOKS_OFTEN);
    // A reader that is gone, and forgotten once the work is there.
    await noteOnCallReader(store, TYPE, 'ghost', 30_000);
    finish('urgent');
    const sent = await send('urgent', {...ON_CALL, policy: 'SEND_ANYWAY'});
    expect(sent.streamName).toBe(store.keys.onCallStream(TYPE));
    await noteOnCallReader(store, TYPE, 'ghost', 0);
    expect(await ended(sent)).toMatchObject({status: 'COMPLETED', workerId: 'w-1'});
    await first.stop();
    expect(await lengthOf(store.keys.onCallStream(TYPE))).toBe(0);
  });

  test('that a dead worker had begun is taken over', async () => {
    const {work, send, finish, ended, store} = await open(at);
    const stream = store.keys.onCallStream(TYPE);
    await noteOnCallReader(store, TYPE, 'ghost', 30_000);
    const sent = await send('urgent', {...ON_CALL, policy: 'SEND_ANYWAY'});
    await ensureGroup(store, stream, CONSUMER_GROUP);
    const reader = store.blocking('ghost', stream);
    const taken = await readNew(store, reader, {
      ...{streams: [stream], group: CONSUMER_GROUP, consumer: 'ghost#0123456789ab', count: 1, blockMs: 1000},
    });
    reader.close();
    expect(taken).toHaveLength(1);
    await noteOnCallReader(store, TYPE, 'ghost', 0);
    finish('urgent');
    await work('w-1');
    expect(await ended(sent)).toMatchObject({status: 'COMPLETED', workerId: 'w-1'});
  });

  test('is cancelled where it waits, and dropped when it is met', async () => {
    const {work, send, ended, store, client, begun, lengthOf, finish} = await open(at);
    await noteOnCallReader(store, TYPE, 'ghost', 30_000);
    const sent = await send('urgent', {...ON_CALL, policy: 'SEND_ANYWAY'});
    await client.cancel({sessionId: sent.sessionId, messageId: sent.messageId});
    await work('w-1', {reserveOnCall: true});
    expect(await ended(sent)).toMatchObject({status: 'CANCELLED'});
    finish('next');
    await ended(await send('next', ON_CALL));
    await until(async () => (await lengthOf(store.keys.onCallStream(TYPE))) === 0);
    expect(begun).toEqual(['w-1:next']);
  });

  test('that can not be read becomes a dead letter', async () => {
    const {work, store, lengthOf} = await open(at);
    await work('w-1', {reserveOnCall: true});
    const stream = store.keys.onCallStream(TYPE);
    await store.commands.run(redis => redis.xadd(stream, '*', 'data', 'no json'));
    const [letter] = await until(async () => {
      const letters = await listDeadLetters(store, 10);
      return letters.length > 0 && letters;
    });
    expect(letter?.letter).toMatchObject({targetAgentType: TYPE});
    await until(async () => (await lengthOf(stream)) === 0);
  });

  test('under way when its worker stops is handed to others', async () => {
    const {work, send, begun, ended, finish} = await open(at);
    const leaving = await work('w-1', {reserveOnCall: true});
    const sent = await send('urgent', ON_CALL);
    await until(() => begun.includes('w-1:urgent'));
    await work('w-2', LOOKS_OFTEN);
    await leaving.stop({drainMs: 0});
    finish('urgent');
    expect(await ended(sent)).toMatchObject({status: 'COMPLETED', workerId: 'w-2'});
  });
});
