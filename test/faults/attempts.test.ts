/** How often work is tried, and what protects the rest from work that kills: G4, G5. Needs the build. */
import {expect, test} from 'vitest';
import {startWorker} from '../../src/worker/runner.js';
import {carryOutReplay, planReplay} from '../../src/availability/replay.js';
import {systemClock} from '../../src/clock.js';
import {ByError} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import {encodeCommand} from '../../src/protocol/commands.js';
import {countedAttempts, execField, pastAttempts} from '../../src/protocol/execution.js';
import {createHeader} from '../../src/protocol/header.js';
import {listDeadLetters} from '../../src/store/dead-letters.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
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
  type WorkerProcess,
} from './support.js';

const GROUP = 'agent_engines';
const AT_ONCE = {baseMs: 0, maxMs: 0};
/** A wait is random, from none to 23 days: in practice a test never sees its end. */
const FOR_LONG = {baseMs: 2_000_000_000, maxMs: 2_000_000_000};

const passing = () => new ByError('REDIS_UNREACHABLE', 'the line is down', {hint: 'Wait.'});

describeEachStore('a failed attempt', at => {
  test('is tried again when the error says so, and the reader sees only the end', async () => {
    const store = at.open();
    await work(
      at,
      store,
      ctx => {
        if (ctx.attempt < 3) throw passing();
        return 'done';
      },
      {retry: AT_ONCE},
    );
    const sent = await send(store, 'x');
    const record = await withStatus(store, sent, 'COMPLETED');
    expect(countedAttempts(record)).toEqual({crashes: 0, failures: 2});
    expect(pastAttempts(record).map(({ended, error}) => [ended, error])).toEqual([
      ['failed', 'the line is down'],
      ['failed', 'the line is down'],
    ]);
    expect(record.timeline.map(({status}) => status)).toEqual([
      ...['QUEUED', 'RUNNING', 'QUEUED', 'RUNNING', 'QUEUED', 'RUNNING', 'COMPLETED'],
    ]);
    expect(await eventKinds(store, sent.sessionId)).toEqual(['final', 'end']);
    expect(await deadLetters(at, store)).toEqual([]);
  });

  test('is final when nobody asked for more', async () => {
    const store = at.open();
    let starts = 0;
    await work(at, store, () => {
      starts++;
      throw new TypeError('a bug');
    });
    const sent = await send(store, 'x');
    await withStatus(store, sent, 'FAILED');
    expect(starts).toBe(1);
  });

  test('is final when the error says that another try is of no use', async () => {
    const store = at.open();
    let starts = 0;
    const useless = () => {
      starts++;
      throw new ByError('NOT_FOUND', 'no such file', {hint: 'Name another.'});
    };
    await work(at, store, useless, {retry: AT_ONCE});
    const sent = await send(store, 'x');
    await withStatus(store, sent, 'FAILED');
    expect(starts).toBe(1);
  });

  test('that was the last one leaves one dead letter with all of them, and a replay starts from nothing', async () => {
    const store = at.open();
    let isRepaired = false;
    await work(
      at,
      store,
      () => (isRepaired ? 'done' : {status: 'FAILED', content: 'no answer', retryable: true}),
      {retry: {...AT_ONCE, maxAttempts: 3}},
    );
    const sent = await send(store, 'keep me');
    const record = await withStatus(store, sent, 'FAILED');
    expect(record.errorCode).toBe('ATTEMPTS_EXHAUSTED');
    expect(await eventKinds(store, sent.sessionId)).toEqual(['final', 'end']);
    const [letter, ...more] = await deadLetters(at, store);
    expect(more).toEqual([]);
    expect(letter).toMatchObject({
      source: 'execution',
      execution_id: sent.executionId,
      command_payload: {body: {content: 'keep me'}},
      attempts: [{error: 'no answer'}, {error: 'no answer'}, {error: 'no answer'}],
    });

    isRepaired = true;
    const options = {newIds: false, keep: false, reason: '', policy: 'SEND_ANYWAY', actor: 'test'} as const;
    const [plan] = await planReplay(store, await listDeadLetters(store, 10), options);
    if (plan?.kind !== 'ready') throw new Error('it can not be replayed');
    const replayed = await carryOutReplay(store, systemClock, 'replay-1', plan, options);
    const again = await withStatus(store, replayed, 'COMPLETED');
    expect(countedAttempts(again)).toEqual({crashes: 0, failures: 0});
  });

  test('waits without a slot, and moves to another worker when this one stops', async () => {
    const store = at.open();
    const broken = (ctx: {attempt: number}, text: string) => {
      if (text === 'x' && ctx.attempt === 1) throw passing();
      return 'done';
    };
    const first = await work(at, store, broken, {concurrency: 1, retry: FOR_LONG, workerId: 'w-1'});
    const sent = await send(store, 'x');
    await until(async () => countedAttempts(await recordOf(store, sent)).failures === 1);
    const other = await send(store, 'y');
    await withStatus(store, other, 'COMPLETED');
    expect((await recordOf(store, sent)).status).toBe('QUEUED');
    expect(first.running).toBe(0);
    await work(at, store, broken, {workerId: 'w-2'});
    expect(await first.stop()).toBe('stopped');
    expect((await withStatus(store, sent, 'COMPLETED')).workerId).toBe('w-2');
  });

  test('that waits can be cancelled', async () => {
    const store = at.open();
    const {cancelExecution} = await client(store);
    await work(
      at,
      store,
      () => {
        throw passing();
      },
      {retry: FOR_LONG},
    );
    const sent = await send(store, 'x');
    await until(async () => countedAttempts(await recordOf(store, sent)).failures === 1);
    await cancelExecution(sent);
    await withStatus(store, sent, 'CANCELLED');
    expect(await eventKinds(store, sent.sessionId)).toEqual(['end']);
  });

  test('is refused as an option that makes no sense', () => {
    expect(() => defineAgent({type: 'a', run: () => 1, retry: {maxAttempts: 0}})).toThrow(/maxAttempts/);
    expect(() => defineAgent({type: 'a', run: () => 1, retry: {tries: 3} as never})).toThrow(/tries/);
    expect(() => defineAgent({type: 'a', run: () => 1, retry: {baseMs: 9, maxMs: 1}})).toThrow(/baseMs/);
  });
});

async function client(store: Store) {
  const {GatewayClient} = await import('../../src/client/client.js');
  const one = new GatewayClient(store);
  return {cancelExecution: (sent: {sessionId: string; messageId: string}) => one.cancel(sent)};
}

/** Start a worker, and another one whenever it dies, until told to stop. */
function keepAlive(at: TestStore, store: Store, maxAttempts?: number) {
  const lives: WorkerProcess[] = [];
  const over = new AbortController();
  const ended = (async () => {
    while (!over.signal.aborted) {
      const one = await spawnWorker(at, store, {...(maxAttempts === undefined ? {} : {maxAttempts})});
      lives.push(one);
      await Promise.race([one.exit, until(() => over.signal.aborted)]);
    }
  })();
  const stop = async () => {
    over.abort();
    await ended;
  };
  at.cleanup(stop);
  return {
    stop,
    starts: (id: string) => lives.flatMap(({said}) => said).filter(line => line.startsWith(`start ${id} `)),
  };
}

describeEachStore('work that kills its worker', at => {
  test('is started as often as it may be, then it is a dead letter, and its caller gets an answer', async () => {
    const store = at.open();
    const redis = at.redis();
    const header = createHeader({
      ...{messageId: 'msg-1', sessionId: 'sess-1', traceId: 't', targetAgentType: TYPE},
      ...{sourceAgentType: 'boss', parentMessageId: 'msg-0'},
    });
    const ask = {action: 'ASK_AGENT' as const, header, content: 'die', waitForReply: true, extraPayload: {}};
    await redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', encodeCommand(ask));
    const workers = keepAlive(at, store, 2);
    const reply = await until(async () => (await redis.xrange(store.keys.ctrlStream('boss'), '-', '+'))[0]);
    // In a Cluster it follows the reply.
    await until(async () => (await deadLetters(at, store)).length > 0);
    await workers.stop();
    expect(JSON.parse(reply[1][1] ?? '')).toMatchObject({
      header: {parent_message_id: 'msg-1'},
      body: {status: 'FAILED'},
    });
    expect(workers.starts('msg-1')).toEqual(['start msg-1 1', 'start msg-1 2']);
    const [letter, ...more] = await deadLetters(at, store);
    expect(more).toEqual([]);
    expect(letter?.['attempts']).toHaveLength(2);
    expect(letter).toMatchObject({command_payload: {body: {content: 'die'}}});
    await settled(at, store);
  });

  test(
    'takes no neighbour with it for ever: they complete, it alone becomes a dead letter',
    {timeout: 90_000},
    async () => {
      const store = at.open();
      const workers = keepAlive(at, store);
      const neighbours = await Promise.all([1, 2, 3, 4].map(() => send(store, 'hang-once')));
      for (const one of neighbours) await until(() => workers.starts(one.messageId).length === 1);
      const poison = await send(store, 'die');
      const record = await withStatus(store, poison, 'FAILED');
      for (const one of neighbours) await withStatus(store, one, 'COMPLETED');
      expect(workers.starts(poison.messageId)).toHaveLength(5);
      expect(countedAttempts(record)).toEqual({crashes: 5, failures: 0});
      await settled(at, store);
      // In a Cluster it follows the record.
      await until(async () => (await deadLetters(at, store)).length > 0);
      expect(await deadLetters(at, store)).toHaveLength(1);
      await workers.stop();
    },
  );

  test('runs alone from its second crash: waiting for that is no attempt, and two of them take turns', async () => {
    const store = at.open();
    const redis = at.redis();
    const stream = store.keys.ctrlStream(TYPE);
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    let inside = 0;
    const seen: [string, number][] = [];
    const worker = await startWorker(store, {
      log: silentLogger,
      concurrency: 10,
      agents: [
        defineAgent({
          type: TYPE,
          async run(_ctx, {text}) {
            seen.push([text, ++inside]);
            if (text === 'long') await gate;
            // Whoever is let in beside it would be seen now.
            await redis.ping();
            await redis.ping();
            inside--;
          },
        }),
      ],
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    const long = await send(store, 'long');
    await until(() => seen.length === 1);

    // Two that were there when two workers died; the second death has not been counted yet.
    const dead = 'w-9#0123456789ab';
    const suspects = [];
    for (const text of ['suspect', 'suspect']) {
      const sent = await send(store, text);
      suspects.push(sent);
    }
    const settleFirst = await Promise.all(suspects.map(one => withStatus(store, one, 'COMPLETED')));
    expect(settleFirst).toHaveLength(2);
    seen.length = 1;
    inside = 1;
    for (const [i, one] of suspects.entries()) {
      const field = execField(one.executionId);
      const registry = store.keys.sessionRegistry(one.sessionId);
      const record = JSON.parse((await redis.hget(registry, field)) ?? '') as Record<string, unknown>;
      const id = `${Date.now() + 60_000 + i}-0`;
      Object.assign(record, {
        ...{status: 'RUNNING', x_owner: dead, x_fence: `2@${dead}`, x_entry: `${stream}/${id}`, x_crashes: 1},
        ...{x_ended: undefined},
      });
      await redis.hset(registry, field, JSON.stringify(record));
      const header = createHeader({
        ...{messageId: one.messageId, sessionId: one.sessionId, traceId: 't', targetAgentType: TYPE},
      });
      const ask = {
        action: 'ASK_AGENT' as const,
        header,
        content: 'suspect',
        waitForReply: false,
        extraPayload: {},
      };
      await redis
        .multi()
        .xadd(stream, id, 'data', encodeCommand(ask))
        .xreadgroup('GROUP', GROUP, dead, 'STREAMS', stream, '>')
        .exec();
    }
    // They are taken from the dead one, and neither has begun.
    await until(async () => (await redis.xpending(stream, GROUP, '-', '+', 10, dead)).length === 0);
    expect(seen).toHaveLength(1);
    for (const one of suspects) expect(countedAttempts(await recordOf(store, one)).crashes).toBe(1);
    release();
    await withStatus(store, long, 'COMPLETED');
    for (const one of suspects)
      expect(countedAttempts(await withStatus(store, one, 'COMPLETED')).crashes).toBe(2);
    expect(seen).toEqual([
      ['long', 1],
      ['suspect', 1],
      ['suspect', 1],
    ]);
    // And then it goes on as before.
    const canary = await send(store, 'canary');
    await withStatus(store, canary, 'COMPLETED');
  });
});
