/** Cancelling in every state, graceful and forced, on every store; and that force really ends what runs: G3. Needs the build. */
import {writeFile} from 'node:fs/promises';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import {GatewayClient} from '../../src/client/client.js';
import {ByError} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import {encodeCommand, type AskCommand, type ResumeCommand} from '../../src/protocol/commands.js';
import {execField, msgMapField} from '../../src/protocol/execution.js';
import {createHeader, type Header} from '../../src/protocol/header.js';
import {readCommandEntry} from '../../src/protocol/commands.js';
import type {Store} from '../../src/store/store.js';
import type {DurableContext} from '../../src/worker/durable/context.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {
  deadLetters,
  eventKinds,
  recordOf,
  send,
  settled,
  spawnWorker,
  TYPE,
  withStatus,
  work,
} from './support.js';

const GROUP = 'agent_engines';
/** A wait is random, from none to 23 days: in practice a test never sees its end. */
const FOR_LONG = {baseMs: 2_000_000_000, maxMs: 2_000_000_000};
const MODES = [
  ['a graceful', false],
  ['a forced', true],
] as const;

const passing = () => new ByError('REDIS_UNREACHABLE', 'the line is down', {hint: 'Wait.'});

/** Ends when it is asked to, as an agent should. */
const untilAsked = (ctx: DurableContext) =>
  new Promise((_, reject) => {
    ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason as Error), {once: true});
  });

const forEver = () => new Promise<never>(() => undefined);

interface Sent {
  readonly sessionId: string;
  readonly messageId: string;
  readonly executionId: string;
}

/** It has ended once, by the cancel, and nothing of it is left anywhere. */
async function endedByCancel(at: TestStore, store: Store, sent: Sent, kinds: readonly string[] = ['end']) {
  const record = await withStatus(store, sent, 'CANCELLED');
  expect(record).toMatchObject({cancelRequested: true, cancelReason: 'enough'});
  expect(record.finishedAt).toBeGreaterThan(0);
  expect(record.timeline.filter(({status}) => status === 'CANCELLED')).toHaveLength(1);
  expect(await eventKinds(store, sent.sessionId)).toEqual(kinds);
  expect(await deadLetters(at, store)).toEqual([]);
}

const cancel = (store: Store, sent: Sent, force: boolean) =>
  new GatewayClient(store).cancel({
    sessionId: sent.sessionId,
    messageId: sent.messageId,
    reason: 'enough',
    force,
  });

describeEachStore('a cancel', at => {
  test.each(MODES)('%s one ends what is queued, and nobody begins it', async (_, force) => {
    const store = at.open();
    const sent = await send(store, 'x');
    expect(await cancel(store, sent, force)).toMatchObject({cancelledCount: 1});
    await endedByCancel(at, store, sent);
    let starts = 0;
    await work(at, store, () => ++starts);
    await settled(at, store);
    expect(starts).toBe(0);
    await endedByCancel(at, store, sent);
  });

  test.each(MODES)('%s one ends what a manager holds back', async (_, force) => {
    const store = at.open();
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: TYPE, content: 'x', policy: 'QUEUE_ONLY'});
    const provider = {
      name: 'none',
      wakeup: () => Promise.resolve({status: 'FAILED' as const, reason: 'none'}),
    };
    const manager = await startManager(store, {provider, log: silentLogger});
    at.cleanup(() => manager.stop());
    const redis = at.redis();
    await until(async () => (await redis.zcard(store.keys.pendingQueue(TYPE))) === 1);
    await cancel(store, sent, force);
    await endedByCancel(at, store, sent);
    let starts = 0;
    await work(at, store, () => ++starts);
    await until(async () => (await redis.zcard(store.keys.pendingQueue(TYPE))) === 0);
    await settled(at, store);
    expect(starts).toBe(0);
    await endedByCancel(at, store, sent);
  });

  test.each(MODES)('%s one ends a retry that waits, and takes it from its worker', async (_, force) => {
    const store = at.open();
    let starts = 0;
    await work(
      at,
      store,
      () => {
        starts++;
        throw passing();
      },
      {retry: FOR_LONG},
    );
    const sent = await send(store, 'x');
    await until(async () => (await recordOf(store, sent)).extra['x_failures'] === 1);
    await cancel(store, sent, force);
    await endedByCancel(at, store, sent);
    await settled(at, store);
    expect(starts).toBe(1);
  });

  test.each(MODES)('%s one ends what runs, and its agent hears why', async (_, force) => {
    const store = at.open();
    const heard: unknown[] = [];
    const run = async (ctx: DurableContext) => {
      heard.push('begun');
      await untilAsked(ctx).catch((error: unknown) => {
        heard.push((error as Error).name, (error as Error).message);
        throw error;
      });
    };
    // One whose lease has run out is not asked.
    const worker = await work(at, store, run, {leaseMs: 6000});
    const sent = await send(store, 'x');
    await until(() => heard.length > 0);
    expect(await cancel(store, sent, force)).toMatchObject({status: 'CANCEL_REQUESTED'});
    // Force does not wait for the worker.
    if (force) expect((await recordOf(store, sent)).status).toBe('CANCELLED');
    await endedByCancel(at, store, sent);
    await until(() => worker.running === 0);
    expect(heard).toEqual(['begun', 'AbortError', 'enough']);
    await settled(at, store);
  });

  test.each(MODES)('%s one ends what waits for a person; the answer comes too late', async (_, force) => {
    const store = at.open();
    let starts = 0;
    await work(at, store, ctx => {
      starts++;
      return ctx.askUser('Which one?');
    });
    const sent = await send(store, 'x');
    await withStatus(store, sent, 'WAITING_USER');
    await settled(at, store);
    await cancel(store, sent, force);
    // The answer was given before the cancel, and is read after it.
    const cancelledAt = Number((await recordOf(store, sent)).extra['x_cancelled_at']);
    await resume(at.redis(), store, sent, `${cancelledAt}-0`);
    await settled(at, store);
    expect(starts).toBe(1);
    await endedByCancel(at, store, sent, ['ask', 'end']);
  });

  test.each(MODES)('%s one ends what a dead worker left before anybody takes it up', async (_, force) => {
    const store = at.open();
    const dead = await spawnWorker(at, store, {workerId: 'w-1'});
    const sent = await send(store, 'hang-once');
    await until(async () => (await eventKinds(store, sent.sessionId)).length === 1);
    dead.kill('SIGKILL');
    await dead.exit;
    await until(async () => (await at.redis().exists(store.keys.workerLease('w-1'))) === 0);
    await cancel(store, sent, force);
    await endedByCancel(at, store, sent, ['answer', 'end']);
    let starts = 0;
    await work(at, store, () => ++starts, {workerId: 'w-2'});
    await settled(at, store);
    expect(starts).toBe(0);
    await endedByCancel(at, store, sent, ['answer', 'end']);
  });

  test.each(MODES)('%s one ends what was handed over by a worker that stopped', async (_, force) => {
    const store = at.open();
    let starts = 0;
    const first = await work(
      at,
      store,
      () => {
        starts++;
        return forEver();
      },
      {workerId: 'w-1'},
    );
    const sent = await send(store, 'x');
    await until(() => starts === 1);
    await first.stop({drainMs: 0});
    expect((await recordOf(store, sent)).status).toBe('QUEUED');
    await cancel(store, sent, force);
    await endedByCancel(at, store, sent);
    await work(at, store, () => ++starts, {workerId: 'w-2'});
    await settled(at, store);
    expect(starts).toBe(1);
  });

  test.each(MODES)('%s one ends a suspect that waits for its turn alone', async (_, force) => {
    const store = at.open();
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    const seen: string[] = [];
    await work(at, store, async (_ctx, text) => {
      seen.push(text);
      if (text === 'long') await gate;
    });
    const long = await send(store, 'long');
    await until(() => seen.length === 1);
    const sent = await suspect(at, store);
    const stream = store.keys.ctrlStream(TYPE);
    const redis = at.redis();
    // The worker has taken it from the dead one, and does not begin it beside the long task.
    await until(async () => (await redis.xpending(stream, GROUP, '-', '+', 10, DEAD)).length === 0);
    await cancel(store, sent, force);
    await endedByCancel(at, store, sent);
    release();
    await withStatus(store, long, 'COMPLETED');
    await settled(at, store);
    expect(seen).toEqual(['long']);
  });

  test('frees the slot of a handler that never returns, when its grace has passed', async () => {
    const store = at.open();
    const seen: string[] = [];
    const worker = await work(
      at,
      store,
      (_ctx, text) => {
        seen.push(text);
        return text === 'x' ? forEver() : 'done';
      },
      {concurrency: 1, cancelGraceMs: 1},
    );
    const sent = await send(store, 'x');
    await until(() => seen.length === 1);
    await cancel(store, sent, false);
    await endedByCancel(at, store, sent);
    await until(() => worker.running === 0);
    await withStatus(store, await send(store, 'y'), 'COMPLETED');
  });

  test('of a turn that was about to wait for a person is not lost', async () => {
    const store = at.open();
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    let begun = false;
    await work(at, store, async ctx => {
      begun = true;
      await gate;
      return ctx.askUser('Which one?');
    });
    const sent = await send(store, 'x');
    await until(() => begun);
    // As a client of another SDK does it: the mark alone, and the word to the worker is lost.
    const redis = at.redis();
    const registry = store.keys.sessionRegistry(sent.sessionId);
    const text = (await redis.hget(registry, execField(sent.executionId))) ?? '';
    const record = {...(JSON.parse(text) as object), status: 'CANCELLING', cancel_requested: true};
    await redis.hset(
      registry,
      execField(sent.executionId),
      JSON.stringify({...record, cancel_reason: 'enough'}),
    );
    release();
    await endedByCancel(at, store, sent, ['ask', 'end']);
    await settled(at, store);
  });
});

describeEachStore('a forced cancel', at => {
  test('ends a handler that does not listen: its slot is free, and what it writes is refused', async () => {
    const store = at.open();
    const lines: string[] = [];
    const log = {...silentLogger, warn: (message: string) => void lines.push(message)};
    log.child = () => log;
    let write: () => Promise<void> = () => Promise.resolve();
    const worker = await work(
      at,
      store,
      async (ctx, text) => {
        if (text === 'y') return 'done';
        await ctx.emitChunk('half ');
        write = () => ctx.emitChunk('late');
        return forEver();
      },
      {concurrency: 1, log},
    );
    const sent = await send(store, 'x');
    await until(async () => (await eventKinds(store, sent.sessionId)).length === 1);
    await cancel(store, sent, true);
    await until(() => worker.running === 0);
    await settled(at, store);
    await expect(write()).rejects.toMatchObject({code: 'FENCED'});
    await endedByCancel(at, store, sent, ['answer', 'end']);
    await withStatus(store, await send(store, 'y'), 'COMPLETED');
    expect(lines.join()).toContain('it runs on');
  });

  test('ends work whose worker is stopped or never turns its event loop: it wakes up fenced', async () => {
    const store = at.open();
    const dir = mkdtempSync(join(tmpdir(), 'by-cancel-'));
    at.cleanup(() => rmSync(dir, {recursive: true}));
    const file = join(dir, 'go');
    // A lease so long that nobody takes it for dead: it is the cancel alone that ends it.
    const worker = await spawnWorker(at, store, {workerId: 'w-1', leaseMs: 30_000});
    const busy = await send(store, `spin-until ${file}`);
    await until(() => worker.has(`spin ${busy.messageId}`));
    await cancel(store, busy, true);
    await endedByCancel(at, store, busy);
    await writeFile(file, '');
    await until(() => worker.has(`refused ${busy.messageId} FENCED`));
    await settled(at, store);

    const again = join(dir, 'again');
    const held = await send(store, `talk-until ${again}`);
    await until(() => worker.has(`start ${held.messageId} 1`));
    worker.kill('SIGSTOP');
    at.cleanup(() => worker.kill('SIGCONT'));
    await cancel(store, held, true);
    await endedByCancel(at, store, held);
    await writeFile(`${again}.say`, '');
    worker.kill('SIGCONT');
    await until(
      () => worker.has(`aborted ${held.messageId} enough`) || worker.has(`refused ${held.messageId} FENCED`),
    );
    await settled(at, store);
    await writeFile(again, '');
    await endedByCancel(at, store, held);
    await endedByCancel(at, store, busy);
  });

  test('answers the caller that waits, once; not one that was cancelled itself', async () => {
    const store = at.open();
    const redis = at.redis();
    let begun = 0;
    await work(at, store, () => {
      begun++;
      return forEver();
    });
    const client = new GatewayClient(store);
    const callers = store.keys.ctrlStream('boss');
    const child = (n: string) =>
      ask({messageId: `msg-${n}`, sourceAgentType: 'boss', parentMessageId: 'msg-boss'});

    await redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', encodeCommand(child('1')));
    await until(() => begun === 1);
    await client.cancel({sessionId: 'sess-1', messageId: 'msg-1', reason: 'enough', force: true});
    const [reply] = await documentsOf(redis, callers);
    const {header, status, replyData} = readCommandEntry(Buffer.from(reply ?? '')) as ResumeCommand;
    expect({...header, status, replyData}).toMatchObject({
      ...{status: 'CANCELLED', replyData: {reason: 'enough'}},
      ...{parentMessageId: 'msg-1', targetAgentType: 'boss', sourceAgentType: TYPE, taskGroupId: 'group-1'},
    });
    await settled(at, store);
    expect(await redis.xlen(callers)).toBe(1);
    // A child's stream is its root's: only a root ends it.
    expect(await eventKinds(store, 'sess-1')).toEqual([]);

    const registry = store.keys.sessionRegistry('sess-1');
    const boss = {
      message_id: 'msg-boss',
      execution_id: 'x-boss',
      status: 'WAITING_AGENT',
      cancel_requested: true,
    };
    await redis.hset(registry, {
      [execField('x-boss')]: JSON.stringify(boss),
      [msgMapField('msg-boss')]: 'x-boss',
    });
    await redis.hset(registry, execField('x-boss'), JSON.stringify({...boss, cancel_requested: false}));
    await redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', encodeCommand(child('2')));
    await until(() => begun === 2);
    await redis.hset(registry, execField('x-boss'), JSON.stringify(boss));
    await client.cancel({sessionId: 'sess-1', messageId: 'msg-2', force: true});
    await settled(at, store);
    expect(await redis.xlen(callers)).toBe(1);
  });

  test('can only ask a worker of another SDK, and says so', async () => {
    const store = at.open();
    const redis = at.redis();
    const sent = await send(store, 'x');
    const registry = store.keys.sessionRegistry(sent.sessionId);
    const text = (await redis.hget(registry, execField(sent.executionId))) ?? '';
    const record = {...(JSON.parse(text) as object), status: 'RUNNING', worker_id: 'py-1', started_at: 5};
    await redis.hset(registry, execField(sent.executionId), JSON.stringify(record));
    expect(await cancel(store, sent, true)).toMatchObject({
      nodes: [{result: 'cancelling', workerId: 'py-1'}],
    });
    expect((await recordOf(store, sent)).status).toBe('CANCELLING');
    const [told] = await documentsOf(redis, store.keys.workerCtrlStream('py-1'));
    expect(readCommandEntry(Buffer.from(told ?? ''))).toMatchObject({
      ...{action: 'CANCEL_TASK', cancelMode: 'force', targetExecutionId: sent.executionId},
    });
  });
});

const documentsOf = async (redis: ReturnType<TestStore['redis']>, stream: string) =>
  (await redis.xrange(stream, '-', '+')).map(([, fields]) => fields[1]);

const DEAD = 'w-9#0123456789ab';

/** Work that was there when two workers died; the second death has not been counted yet. */
async function suspect(at: TestStore, store: Store): Promise<Sent> {
  const redis = at.redis();
  const stream = store.keys.ctrlStream(TYPE);
  const sent = {sessionId: 'sess-s', messageId: 'msg-s', executionId: 'x-s'};
  const entryId = `${Date.now() + 60_000}-0`;
  const record = {
    ...{execution_id: 'x-s', message_id: 'msg-s', session_id: 'sess-s', trace_id: 't'},
    ...{source_agent_type: 'client', target_agent_type: TYPE, stream_name: stream, status: 'RUNNING'},
    ...{worker_id: 'w-9', created_at: 1, started_at: 1, finished_at: 0, timeline: []},
    ...{x_attempt: 2, x_owner: DEAD, x_fence: `2@${DEAD}`, x_entry: `${stream}/${entryId}`, x_crashes: 1},
  };
  const registry = store.keys.sessionRegistry('sess-s');
  await redis.hset(registry, {[execField('x-s')]: JSON.stringify(record), [msgMapField('msg-s')]: 'x-s'});
  await redis.expire(registry, 1000);
  await redis
    .multi()
    .xadd(stream, entryId, 'data', encodeCommand(ask({messageId: 'msg-s', sessionId: 'sess-s'})))
    .xreadgroup('GROUP', GROUP, DEAD, 'STREAMS', stream, '>')
    .exec();
  return sent;
}

function ask(header: Partial<Header>): AskCommand {
  return {
    action: 'ASK_AGENT',
    header: createHeader({
      ...{
        messageId: 'msg-1',
        sessionId: 'sess-1',
        traceId: 't',
        targetAgentType: TYPE,
        taskGroupId: 'group-1',
      },
      ...header,
    }),
    ...{content: 'x', waitForReply: header.sourceAgentType !== undefined, extraPayload: {}},
  };
}

/** A person's answer, as an entry of this id. */
async function resume(redis: ReturnType<TestStore['redis']>, store: Store, sent: Sent, entryId: string) {
  const command: ResumeCommand = {
    action: 'RESUME',
    header: createHeader({
      ...{messageId: sent.messageId, sessionId: sent.sessionId, traceId: 't', targetAgentType: TYPE},
    }),
    ...{status: 'COMPLETED', content: 'the red one', replyData: {}, extraPayload: {}},
  };
  return redis.xadd(store.keys.ctrlStream(TYPE), entryId, 'data', encodeCommand(command));
}
