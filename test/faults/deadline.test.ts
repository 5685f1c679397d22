/** Deadlines: what is late is not begun, is asked to stop, or is ended where it waits; by Redis's clock alone (G14). */
import {expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import {GatewayClient} from '../../src/client/client.js';
import type {SendRequest} from '../../src/availability/send.js';
import {ByError} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import {encodeCommand, readCommandEntry} from '../../src/protocol/commands.js';
import {execField, msgMapField} from '../../src/protocol/execution.js';
import {createHeader} from '../../src/protocol/header.js';
import {sweepDeadlines} from '../../src/store/deadlines.js';
import {sweepOutboxes} from '../../src/store/outbox.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {atEveryCrash} from '../support/crash.js';
import {deadLetters, eventKinds, recordOf, settled, spawnWorker, TYPE, withStatus, work} from './support.js';

const AN_HOUR = 3_600_000;

const sendLate = (store: Store, content: string, deadlineMs: number, more: Partial<SendRequest> = {}) =>
  new GatewayClient(store).send({agentType: TYPE, content, policy: 'SEND_ANYWAY', deadlineMs, ...more});

async function manage(at: TestStore, store: Store) {
  const provider = {name: 'none', wakeup: () => Promise.resolve({status: 'FAILED' as const, reason: 'none'})};
  const manager = await startManager(store, {provider, log: silentLogger});
  at.cleanup(() => manager.stop());
}

interface Sent {
  readonly sessionId: string;
  readonly executionId: string;
  readonly deadline?: number;
}

async function endedLate(at: TestStore, store: Store, sent: Sent, kinds: readonly string[] = ['end']) {
  const record = await withStatus(store, sent, 'FAILED');
  expect(record).toMatchObject({errorCode: 'DEADLINE_EXCEEDED'});
  expect(record.finishedAt).toBeGreaterThan(0);
  expect(await eventKinds(store, sent.sessionId)).toEqual(kinds);
  expect(await deadLetters(at, store)).toEqual([]);
  return record;
}

/** Resolves when Redis's clock has passed an execution's deadline. */
const past = (at: TestStore, {deadline = 0}: Sent) => {
  const redis = at.redis();
  return until(async () => {
    const [seconds = 0, micros = 0] = await redis.time();
    return seconds * 1000 + micros / 1000 > deadline;
  });
};

/** Move its deadline into the past. */
async function makeLate(at: TestStore, store: Store, {sessionId, executionId, deadline = 1}: Sent) {
  const redis = at.redis();
  const registry = store.keys.sessionRegistry(sessionId);
  const record = JSON.parse((await redis.hget(registry, execField(executionId))) ?? '') as object;
  await redis.hset(registry, execField(executionId), JSON.stringify({...record, x_deadline: 1}));
  await redis.zadd(store.keys.deadlines(), 1, `${sessionId}/${executionId}/${deadline}`);
}

const noneNoted = (at: TestStore, store: Store) =>
  until(async () => (await at.redis().zcard(store.keys.deadlines())) === 0);

describeEachStore('after its deadline an execution', at => {
  test('that nobody has begun is not begun, whoever takes it', async () => {
    const store = at.open();
    const sent = await sendLate(store, 'x', 1);
    await past(at, sent);
    let starts = 0;
    // With its own clock an hour behind, the worker would begin it.
    await work(at, store, () => ++starts, {now: () => Date.now() - AN_HOUR});
    await endedLate(at, store, sent);
    await settled(at, store);
    expect(starts).toBe(0);
    await noneNoted(at, store);
  });

  test('that waits where no worker is online is ended by a manager, also one that is held back', async () => {
    const store = at.open();
    const queued = await sendLate(store, 'x', 20);
    const held = await sendLate(store, 'x', 20, {policy: 'QUEUE_ONLY'});
    await manage(at, store);
    await endedLate(at, store, queued);
    await endedLate(at, store, held);
    await noneNoted(at, store);
    let starts = 0;
    await work(at, store, () => ++starts);
    await until(async () => (await at.redis().zcard(store.keys.pendingQueue(TYPE))) === 0);
    await settled(at, store);
    expect(starts).toBe(0);
    await endedLate(at, store, held);
  });

  test('that runs is asked to stop, with the reason; what it answers afterwards does not count', async () => {
    const store = at.open();
    const seen: unknown[] = [];
    const worker = await work(at, store, async ctx => {
      await ctx.emitChunk('half ');
      if (!ctx.signal.aborted)
        await new Promise(resolve => ctx.signal.addEventListener('abort', resolve, {once: true}));
      const reason = ctx.signal.reason as Error;
      seen.push(reason.name, typeof ctx.deadline);
      return 'too late';
    });
    // Long enough for it to begin on a busy machine.
    const sent = await sendLate(store, 'x', 3000);
    await endedLate(at, store, sent, ['answer', 'end']);
    expect(seen).toEqual(['TimeoutError', 'number']);
    await until(() => worker.running === 0);
    await settled(at, store);
  });

  test('that runs and does not listen is given up after its grace', async () => {
    const store = at.open();
    const run = (_ctx: unknown, text: string) => (text === 'x' ? new Promise(() => undefined) : 'done');
    const worker = await work(at, store, run, {concurrency: 1, cancelGraceMs: 1});
    const sent = await sendLate(store, 'x', 200);
    await endedLate(at, store, sent);
    await until(() => worker.running === 0);
    const next = await sendLate(store, 'y', AN_HOUR);
    await withStatus(store, next, 'COMPLETED');
  });

  test('that waits for a person is ended there', async () => {
    const store = at.open();
    await work(at, store, ctx => ctx.askUser('Which one?'));
    const sent = await sendLate(store, 'x', AN_HOUR);
    await withStatus(store, sent, 'WAITING_USER');
    await makeLate(at, store, sent);
    await endedLate(at, store, sent, ['ask', 'end']);
    await noneNoted(at, store);
  });

  test('answers the caller that waits for it', async () => {
    const store = at.open();
    const redis = at.redis();
    await work(at, store, ctx => ctx.askUser('Which one?'));
    const header = createHeader({
      ...{messageId: 'msg-1', sessionId: 'sess-1', traceId: 't', targetAgentType: TYPE},
      ...{sourceAgentType: 'boss', parentMessageId: 'msg-0'},
    });
    const more = {content: 'x', waitForReply: true, extraPayload: {}};
    const ask = encodeCommand({action: 'ASK_AGENT', header, ...more});
    await redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', ask);
    const registry = store.keys.sessionRegistry('sess-1');
    const executionId = await until(async () => (await redis.hget(registry, msgMapField('msg-1'))) ?? false);
    const sent = {sessionId: 'sess-1', executionId};
    await withStatus(store, sent, 'WAITING_USER');
    await makeLate(at, store, sent);
    await endedLate(at, store, sent, ['ask']);
    const [[, fields] = ['', []]] = await redis.xrange(store.keys.ctrlStream('boss'), '-', '+');
    expect(readCommandEntry(Buffer.from(fields[1] ?? ''))).toMatchObject({
      ...{action: 'RESUME', status: 'FAILED', header: {parentMessageId: 'msg-1', targetAgentType: 'boss'}},
    });
  });

  test('that a dead worker held is ended without another start', async () => {
    const store = at.open();
    const dead = await spawnWorker(at, store, {workerId: 'w-1'});
    const sent = await sendLate(store, 'hang-once', AN_HOUR);
    await until(async () => (await eventKinds(store, sent.sessionId)).length === 1);
    dead.kill('SIGKILL');
    await makeLate(at, store, sent);
    let starts = 0;
    await work(at, store, () => ++starts, {workerId: 'w-2'});
    await endedLate(at, store, sent, ['answer', 'end']);
    await settled(at, store);
    expect(starts).toBe(0);
  });

  test('that was cancelled before is CANCELLED', async () => {
    const store = at.open();
    const sent = await sendLate(store, 'x', 1);
    await new GatewayClient(store).cancel(sent);
    await past(at, sent);
    await sweepDeadlines(store, 1);
    expect((await recordOf(store, sent)).status).toBe('CANCELLED');
    expect(await eventKinds(store, sent.sessionId)).toEqual(['end']);
    expect(await at.redis().zcard(store.keys.deadlines())).toBe(0);
  });
});

describeEachStore('a deadline', at => {
  test('does nothing to what ended before it', async () => {
    const store = at.open();
    await work(at, store, () => 'done');
    const sent = await sendLate(store, 'x', AN_HOUR);
    await withStatus(store, sent, 'COMPLETED');
    await makeLate(at, store, sent);
    await noneNoted(at, store);
    expect((await recordOf(store, sent)).status).toBe('COMPLETED');
    expect(await eventKinds(store, sent.sessionId)).toEqual(['final', 'end']);
  });

  test('ends a failed attempt whose retry would begin after it, and says what failed', async () => {
    const store = at.open();
    let starts = 0;
    const passing = () => new ByError('REDIS_UNREACHABLE', 'the line is down', {hint: 'Wait.'});
    const retry = {baseMs: 2_000_000_000, maxMs: 2_000_000_000};
    await work(
      at,
      store,
      () => {
        starts++;
        throw passing();
      },
      {retry},
    );
    const sent = await sendLate(store, 'x', 60_000);
    const {errorMessage} = await endedLate(at, store, sent);
    expect(errorMessage).toContain('the line is down');
    expect(starts).toBe(1);
    await settled(at, store);
  });

  test('concerned what has ended, when a user goes on with it', async () => {
    const store = at.open();
    const redis = at.redis();
    await work(at, store, () => 'done');
    const sent = await sendLate(store, 'x', AN_HOUR);
    await withStatus(store, sent, 'COMPLETED');
    await makeLate(at, store, sent);
    const header = createHeader({
      ...{messageId: sent.messageId, sessionId: sent.sessionId, traceId: 't', targetAgentType: TYPE},
    });
    const more = {status: 'COMPLETED', content: 'and?', replyData: {}, extraPayload: {}};
    const stream = store.keys.ctrlStream(TYPE);
    await redis.xadd(stream, '*', 'data', encodeCommand({action: 'RESUME', header, ...more}));
    await settled(at, store);
    const {status, timeline} = await recordOf(store, sent);
    expect(status).toBe('COMPLETED');
    expect(timeline.filter(step => step.status === 'COMPLETED')).toHaveLength(2);
  });

  test('bounds the wait for a worker', async () => {
    const store = at.open();
    await manage(at, store);
    const sending = sendLate(store, 'x', 30, {policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: AN_HOUR});
    await expect(sending).rejects.toMatchObject({code: 'AGENT_TYPE_UNAVAILABLE'});
  });

  test.each([0, -1, 1.5, Number.NaN, 604_800_001])('of %s ms is refused', async deadlineMs => {
    const sending = sendLate(at.open(), 'x', deadlineMs);
    await expect(sending).rejects.toMatchObject({code: 'INVALID_INPUT'});
  });

  test('of a sender that dies between any two of its commands is kept, or forgotten with what it was for', async () => {
    const request = {messageId: 'm', sessionId: 's'};
    await atEveryCrash(
      () => at.open(),
      () => Promise.resolve(),
      store => sendLate(store, 'x', 1, request),
      async store => {
        const sent = await sendLate(store, 'x', 1, request);
        await past(at, sent);
        // The try that came to nothing is looked at again.
        await sweepOutboxes(store, 0);
        await sweepDeadlines(store, 1);
        await endedLate(at, store, sent);
        await at.redis().del(store.keys.ctrlStream(TYPE));
      },
    );
  });
});
